"""Real servers in processes of their own: an S3 store and MLflow."""

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
def s3_serving(**environment: str) -> Iterator[str]:
    """Run an S3 server with these variables in its environment, and give its address."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    log = subprocess.DEVNULL
    server = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)

    def answers() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    try:
        _wait_until(answers, server, seconds=60)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@contextlib.contextmanager
def mlflow_serving(folder: Path) -> Iterator[str]:
    """Run an MLflow server with its database and artifacts in `folder`, and give its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [
        *(str(Path(sys.executable).with_name("mlflow")), "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
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
        _wait_until(answers, server, seconds=90, log=folder / "server.log")
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # the workers as well
        server.wait()


def _wait_until(
    answers: Callable[[], bool], server: subprocess.Popen[bytes], *, seconds: int, log: Path | None = None
) -> None:
    deadline = time.monotonic() + seconds
    while not answers():
        said = log.read_text() if log else ""
        assert server.poll() is None, f"{server.args} ended with {server.returncode}\n{said}"
        assert time.monotonic() < deadline, f"{server.args} does not answer\n{said}"
        time.sleep(0.05)
