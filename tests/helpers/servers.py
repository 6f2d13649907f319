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


class MlflowServer:
    """One MLflow server with its artifacts in `folder`, its database too if no other is named, at one address."""

    def __init__(self, folder: Path, database: str | None = None, *, to_all: bool = False) -> None:
        """Choose its port. With `to_all` other machines reach it too, under any name."""
        self.folder, port = folder, free_port()
        self.address = f"http://127.0.0.1:{port}"
        listening = ("--host", "0.0.0.0", "--allowed-hosts", "*") if to_all else ("--host", "127.0.0.1")
        self.command = [
            *(str(Path(sys.executable).with_name("mlflow")), "server", *listening, "--port", str(port)),
            *("--backend-store-uri", database or f"sqlite:///{folder}/mlflow.db"),
            *("--artifacts-destination", str(folder / "artifacts"), "--workers", "1"),
        ]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it answers."""
        environment = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        log = self.folder / "server.log"
        with open(log, "ab") as file:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, **environment},
                cwd=self.folder,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        if wait:
            wait_until(self.answers, self.process, seconds=180, log=log)

    def answers(self) -> bool:
        """Tell whether it does."""
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.address}/health", timeout=2):
            return True
        return False

    def stop(self) -> None:
        """Kill it and its workers; it can be started again, with what it holds."""
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@contextlib.contextmanager
def mlflow_serving(folder: Path, database: str | None = None, *, to_all: bool = False) -> Iterator[str]:
    """Run an MLflow server, and give its address."""
    server = MlflowServer(folder, database, to_all=to_all)
    try:
        server.start()
        yield server.address
    finally:
        server.stop()


def wait_until(answers: Callable[[], bool], server: subprocess.Popen[bytes], *, seconds: int, log: Path) -> None:
    """Ask until the server answers; its log is shown if it ends, or takes too long."""
    deadline = time.monotonic() + seconds
    while not answers():
        assert server.poll() is None, f"{server.args} ended with {server.returncode}\n{log.read_text()}"
        assert time.monotonic() < deadline, f"{server.args} does not answer\n{log.read_text()}"
        time.sleep(0.05)
