"""A real MLflow server in a process of its own, and waiting for a server to answer."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def mlflow_serving(folder: Path, database: str | None = None, *, to_all: bool = False) -> Iterator[str]:
    """Run an MLflow server with its artifacts in `folder`, its database too if no other is named; give its address.

    With `to_all` other machines reach it too, under any name.
    """
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    listening = ("--host", "0.0.0.0", "--allowed-hosts", "*") if to_all else ("--host", "127.0.0.1")
    command = [
        *(str(Path(sys.executable).with_name("mlflow")), "server", *listening, "--port", str(port)),
        *("--backend-store-uri", database or f"sqlite:///{folder}/mlflow.db"),
        *("--artifacts-destination", str(folder / "artifacts"), "--workers", "1"),
    ]
    environment = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with open(folder / "server.log", "wb") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **environment}, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )

    def answers() -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=2):
            return True
        return False

    try:
        wait_until(answers, server, seconds=90, log=folder / "server.log")
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # the workers as well
        server.wait()


def wait_until(answers: Callable[[], bool], server: subprocess.Popen[bytes], *, seconds: int, log: Path) -> None:
    """Ask until the server answers; its log is shown if it ends, or takes too long."""
    deadline = time.monotonic() + seconds
    while not answers():
        assert server.poll() is None, f"{server.args} ended with {server.returncode}\n{log.read_text()}"
        assert time.monotonic() < deadline, f"{server.args} does not answer\n{log.read_text()}"
        time.sleep(0.05)
