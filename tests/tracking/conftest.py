"""What the tests of tracking share."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator

import pytest

from tests.helpers.mlflow_doubles import NotQuiteMlflow


@pytest.fixture
def fake() -> Iterator[Callable[[str], str]]:
    """Starts a server that is not quite MLflow, and gives its address."""
    started = []

    def start(mode: str) -> str:
        serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), NotQuiteMlflow)
        serving.daemon_threads = True
        serving.mode, serving.released = mode, threading.Event()
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        started.append(serving)
        return f"http://127.0.0.1:{serving.server_port}"

    yield start
    for serving in started:
        serving.released.set()
        serving.shutdown()
        serving.server_close()
