"""What every test shares: where the real data lies, and a private place for everything Sightline writes."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.sets import refuse, rejected, sets, validate  # noqa: F401  fixtures of many folders


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep the tests of one trained quickstart in one process: it takes minutes to make."""
    if "quickstart" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.xdist_group("quickstart"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the real datasets and checkpoints."""
    path = os.environ.get("SIGHTLINE_TEST_DATA")
    if not path:
        pytest.skip("SIGHTLINE_TEST_DATA is not set: no real datasets to test on")
    return Path(path).resolve()


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep caches, stores and tracking of a test inside its own folder."""
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SIGHTLINE_STORE", f"file://{tmp_path}/store")
    monkeypatch.setenv("SIGHTLINE_RUNS", str(tmp_path / "runs"))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "SIGHTLINE_PROGRESS"):
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _s3_serving(**environment: str) -> Iterator[str]:
    """Run a real S3 server process, with these variables in its environment, and give its address."""
    port = _free_port()
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    log = subprocess.DEVNULL
    server = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert server.poll() is None, f"{command} ended with {server.returncode}"
            assert time.monotonic() < deadline, f"{command} does not answer"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="session")
def s3_serving() -> Callable[..., AbstractContextManager[str]]:
    """Starts an S3 server of one's own: `with s3_serving(VARIABLE="value") as address`."""
    return _s3_serving


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of an S3 server that accepts any credentials."""
    with _s3_serving() as address:
        yield address


@pytest.fixture
def s3(s3_server: str, private: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a fresh bucket on that server; the environment holds its address and credentials."""
    monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", s3_server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    from minio import Minio

    bucket = f"bucket-{uuid.uuid4().hex}"
    client = Minio(s3_server.removeprefix("http://"), "test-key", "test-secret", secure=False, region="us-east-1")
    client.make_bucket(bucket)
    return bucket


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real MLflow server with a database, artifacts and model registry of its own."""
    folder = tmp_path_factory.mktemp("mlflow")
    port = _free_port()
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
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 90
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=2):
                break
            assert server.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < deadline, f"{command} does not answer"
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # the workers as well
        server.wait()


@dataclass(frozen=True)
class Finished:
    """A run of the whole line: its directory, its result, and how the command ended."""

    folder: Path
    summary: dict[str, Any]
    exit_code: int
    stderr: str


def sightline(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, as a user does."""
    command = [sys.executable, "-m", "sightline", *arguments]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.fixture(scope="session")
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `sightline`: `command("run", "--json", cwd=folder, VARIABLE="value")`."""
    return sightline


# No routes: nothing but the loopback is within reach.
NO_NETWORK = "ip link set lo up && test $(wc -l < /proc/net/route) -le 1 && exec"


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The quickstart, run once for the whole session, in a network namespace without routes where that is allowed."""
    folder = tmp_path_factory.mktemp("quickstart")
    command = [sys.executable, "-m", "sightline", "run", "--json", "--run-id", "first"]
    allowed = network_can_be_cut()
    if allowed:
        command = ["unshare", "-rn", "sh", "-c", f"{NO_NETWORK} {shlex.join(command)} 2>stderr.txt"]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MLFLOW_"))},
        "SIGHTLINE_CACHE": str(folder / "cache"),
        "HOME": str(folder / "home"),
    }
    environment.pop("SIGHTLINE_STORE", None)
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    log = folder / "runs" / "first" / "pipeline.log"
    assert done.stdout, log.read_text() if log.exists() else "the run never started"
    stderr = (folder / "stderr.txt").read_text() if allowed else ""
    return Finished(folder / "runs" / "first", json.loads(done.stdout), done.returncode, stderr)


def network_can_be_cut() -> bool:
    """Say whether this user may make a network namespace."""
    return (
        bool(shutil.which("unshare"))
        and not subprocess.run(
            ["unshare", "-rn", "ip", "link", "set", "lo", "up"], capture_output=True, check=False
        ).returncode
    )
