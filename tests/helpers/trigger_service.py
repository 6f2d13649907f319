"""`sightline trigger` in a process of its own, a bucket that it watches, and events as object stores send them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import urllib3
from minio import Minio
from minio.error import S3Error

from tests.helpers import compiled
from tests.helpers.servers import free_port

TOKEN = "a-secret-of-the-tests"
SIGHTLINE = (sys.executable, "-m", "sightline")
OPTIONS = ("--file", "triggers.yaml", "--pipeline", "small.yaml")


def declare(folder: Path, every: str = "1s", **prefixes: str) -> None:
    """Write a pipeline and a file of triggers, their names and prefixes; data is quiet after a second."""
    compiled.write(folder)
    lines = [
        f"- {{name: {name}, prefix: '{prefix}', enabled: true, quiet: 1s, every: {every}}}"
        for name, prefix in prefixes.items()
    ]
    (folder / "triggers.yaml").write_text("\n".join(["triggers:", *lines]))


def put(client: Minio, bucket: str, key: str, data: bytes = b"image") -> None:
    client.put_object(bucket, key, BytesIO(data), len(data))


def record(client: Minio, bucket: str) -> dict[str, Any]:
    """What the store below `store/` has about the trigger cells; empty if that is nothing."""
    try:
        with contextlib.closing(client.get_object(bucket, "store/triggers/cells.json")) as answer:
            return dict(json.loads(answer.read()))
    except S3Error as error:
        if error.code != "NoSuchKey":
            raise
        return {}


def s3_event(bucket: str, key: str) -> dict[str, Any]:
    """What MinIO and S3 send; its key is URL-encoded."""
    return {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}]}


class Service:
    """The service, in a folder with `triggers.yaml` and `small.yaml`; its environment is that of the test."""

    def __init__(self, folder: Path) -> None:
        """Choose its port: it keeps that over restarts."""
        self.folder, self.port = folder, free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self._http = urllib3.PoolManager(timeout=10, retries=False)

    def start(self, **environment: str) -> None:
        """Start it, and wait until it listens."""
        variables = {**os.environ, "SIGHTLINE_TRIGGER_TOKEN": TOKEN, "SIGHTLINE_KFP_WAIT": "2", **environment}
        seen = self.log.count("listens on")
        with open(self.folder / "service.log", "ab") as log:
            self.process = subprocess.Popen(
                [*SIGHTLINE, "trigger", *OPTIONS, "--port", str(self.port)],
                cwd=self.folder, env=variables, stdout=log, stderr=log,
            )  # fmt: skip
        self.wait(lambda: self.log.count("listens on") > seen)

    @property
    def log(self) -> str:
        path = self.folder / "service.log"
        return path.read_text() if path.is_file() else ""

    def command(
        self, *options: str, program: tuple[str, ...] = SIGHTLINE, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the command with these options to its end."""
        return subprocess.run(
            [*program, "trigger", *OPTIONS, *options],
            cwd=self.folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def wait_for(self, words: str) -> None:
        """Wait until the log has these words."""
        self.wait(lambda: words in self.log)

    def wait(self, happened: Callable[[], Any], seconds: float = 60) -> None:
        """Wait until something has happened, while it runs."""
        deadline = time.monotonic() + seconds
        while not happened():
            assert self.process is None or self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal; returns its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(timeout=30)

    def request(self, method: str, path: str, body: bytes = b"", token: str | None = None) -> tuple[int, str]:
        """Send a request; returns status and body."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = self._http.request(method, f"{self.address}{path}", body=body or None, headers=headers)
        return answer.status, answer.data.decode()

    def send(self, event: Any) -> tuple[int, Any]:
        """Send an event with the right secret; returns status and answer."""
        status, text = self.request("POST", "/events", json.dumps(event).encode(), TOKEN)
        return status, json.loads(text)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Service]:
    """Give a service that is not started yet; what runs in the end is killed."""
    service = Service(folder)
    try:
        yield service
    finally:
        if service.process and service.process.poll() is None:
            service.process.kill()
            service.process.wait()
