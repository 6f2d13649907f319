"""What is asked of the tracking server before a run costs anything, and what is said where it cannot be used."""

from __future__ import annotations

import http.server
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline.config import RegisterConfig
from sightline.draw import draw
from sightline.tracking import check, server

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]


class Fake(http.server.BaseHTTPRequestHandler):
    """Answers /health as MLflow does and everything else as its server's `mode` says."""

    def answer(self) -> None:
        mode, healthy = self.server.mode, self.path == "/health"
        if mode == "hang" and not healthy:
            self.server.released.wait(60)
            return
        status, kind = (200 if healthy or mode == "page" else int(mode)), "application/json"
        body = b"OK" if healthy else json.dumps({"error_code": "INTERNAL_ERROR", "message": "no database"}).encode()
        if mode == "page":
            kind, body = "text/html", b"<html>Sign in</html>"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def fake() -> Iterator[Callable[[str], str]]:
    """Starts a server that is not quite MLflow, and gives its address."""
    started = []

    def start(mode: str) -> str:
        serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fake)
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


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("500", "its API answers 500: no database"),
        ("503", "its API answers 503"),
        ("401", "it refuses the credentials (401: no database). Set MLFLOW_TRACKING_USERNAME"),
        ("403", "it refuses the credentials (403"),
        ("404", "there is no MLflow at this address (404)"),
        ("page", "it answers with a page, not as MLflow's API does: a login page"),
    ],
)
def test_an_api_that_does_not_work_is_told_apart_from_one_that_is_healthy(
    fake: Callable[[str], str], mode: str, words: str
) -> None:
    uri = fake(mode)
    assert server.unreachable(uri) is None
    (problem,) = check.of_server(uri.replace("http://", "http://anna:s3cret@"), "sightline", "detector")
    assert problem.startswith(f"MLflow at {uri} cannot be used: {words}")


def test_tls_where_there_is_none_is_said(fake: Callable[[str], str]) -> None:
    (problem,) = check.of_server(fake("500").replace("http://", "https://"), "sightline", "detector")
    assert "TLS failed ([SSL: " in problem


def test_a_server_that_works_is_told_from_what_in_it_does_not_fit(
    mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    assert check.of_server(mlflow_server, "not made yet", "not made yet") == []
    client = mlflow.MlflowClient(mlflow_server)
    client.delete_experiment(client.create_experiment("deleted before"))
    client.create_registered_model("made before")
    assert check.of_server(mlflow_server, "not made yet", "made before") == []
    client.register_prompt("asked", "What is in {{image}}?")
    opened = client.create_run("0", tags={server.RUN_TAG: "another"})
    monkeypatch.setenv("MLFLOW_RUN_ID", opened.info.run_id)
    monkeypatch.setenv("SIGHTLINE_RUN_ID", "mine")
    deleted, foreign, prompt = check.of_server(mlflow_server, "deleted before", "asked")
    assert "'deleted before'" in deleted
    assert "mlflow experiments restore" in deleted
    assert "records another pipeline run, another" in foreign
    assert "'asked' is a prompt" in prompt
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    (unknown,) = check.of_server(mlflow_server, "sightline", "detector")
    assert f"does not answer for the run {'0' * 32} of MLFLOW_RUN_ID" in unknown


def test_artifacts_that_could_not_be_stored_are_known_before(mlflow_server: str) -> None:
    """A server without --artifacts-destination sends clients to a folder of its own machine."""
    import mlflow

    client = mlflow.MlflowClient(mlflow_server)
    client.create_experiment("elsewhere", artifact_location="file:///proc/mlruns")
    client.create_experiment("bucket", artifact_location="wasbs://mlflow@lab.blob.core.windows.net/x")
    (folder,) = check.of_server(mlflow_server, "elsewhere", "detector")
    assert "store artifacts at file:///proc/mlruns, which cannot be written here" in folder
    (bucket,) = check.of_server(mlflow_server, "bucket", "detector")
    assert "lab.blob.core.windows.net/x, for which azure.storage.blob is not installed here" in bucket


def ask(uri: str, **config: str) -> list[str]:
    with check.asking(uri, RegisterConfig.model_validate(config)) as asked:
        return asked.problems()


def test_addresses_that_cannot_be_are_known_at_once(tmp_path: Path) -> None:
    start = time.monotonic()
    (tmp_path / "text").write_text("no database, but long enough to be one")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{held.getsockname()[1]}"
        assert (
            f"No MLflow server answers at {address}: connection refused"
            in ask(address.replace("http://", "http://anna:s3cret@"))[0]
        )
    for uri, words in {
        "file:///tmp/mlruns": "expected an address that begins with one of http://",
        "localhost:5000": "expected an address that begins with",
        "nonsense://x": "expected an address that begins with",
        "/tmp/mlruns": "expected an address that begins with",
        "http://[::1": "expected an address that begins with",
        "http://localhost:port": "No MLflow server answers",
        "sqlite:////proc/nowhere/mlflow.db": "/proc is no folder that can be written",
        f"sqlite:///{tmp_path}": "is no file that can be written",
        f"sqlite:///{tmp_path}/text": "is no SQLite database",
        "sqlite://": "a database in memory",
    }.items():
        (problem,) = ask(uri)
        assert words in problem, uri
    assert ask(f"sqlite:///{tmp_path}/new/mlflow.db") == []
    assert not (tmp_path / "new").exists()
    assert time.monotonic() - start < 10


def test_what_was_deleted_in_the_embedded_database_is_known_without_loading_mlflow(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE experiments (experiment_id INTEGER, name TEXT, lifecycle_stage TEXT)")
        made.execute("INSERT INTO experiments VALUES (7, 'gone', 'deleted'), (8, 'here', 'active')")
    made.close()
    (problem,) = ask(f"sqlite:///{path}", experiment="gone")
    assert "experiments restore --experiment-id 7" in problem
    assert ask(f"sqlite:///{path}", experiment="here") == []


def test_a_run_is_refused_with_all_that_is_known_while_data_alone_asks_no_server(
    fake: Callable[[str], str], command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    draw(tmp_path / "data")
    uri = fake("hang")
    wrong = ("--set", "train.freeze=9999", "--set", "export.nms_free=true", "--set", "register.alias=latest")
    start = time.monotonic()
    done = command(
        *("validate", "--data", "data", "--run", "r", "--weights", "yolo11n.yaml", *wrong),
        cwd=tmp_path, MLFLOW_TRACKING_URI=uri,
    )  # fmt: skip
    assert done.returncode == 2
    for words in (
        "register.alias: got 'latest'",
        "train.freeze: got 9999, but yolo11n.yaml has 24 layers",
        "export.nms_free: got true, but yolo11n.yaml has no one-to-one head",
        f"MLflow at {uri} cannot be used: it took a request and gave no answer within 10 s",
    ):
        assert words in done.stderr, done.stderr
    assert time.monotonic() - start < 60
    alone = command("validate", "--data", "data", "--json", cwd=tmp_path, MLFLOW_TRACKING_URI=uri)
    assert alone.returncode == 0, alone.stderr
    assert json.loads(alone.stdout)["verdict"] == "passed"


def test_a_scan_that_passes_still_ends_with_what_the_server_said(
    fake: Callable[[str], str], command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    draw(tmp_path / "data")
    done = command(
        *("validate", "--data", "data", "--run", "r", "--weights", "yolo11n.yaml"),
        cwd=tmp_path, MLFLOW_TRACKING_URI=fake("500"),
    )  # fmt: skip
    assert done.returncode == 2
    assert "its API answers 500: no database" in done.stderr
    assert not (tmp_path / "store").exists()
    assert not (tmp_path / "r" / "validate" / "validate.json").exists()


def test_waiting_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    with server.waiting("http://anna:s3cret@mlflow.lab", "report"):
        time.sleep(server.QUIET_SECONDS + 0.5)
    assert "waiting for MLflow at http://mlflow.lab (5 s)" in capfd.readouterr().err


def process_of(uri: str) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "sightline.tracking.check"],
        input=json.dumps({"uri": uri, **RegisterConfig().model_dump()}),
        env=dict(os.environ), capture_output=True, text=True, check=True,
    )  # fmt: skip


def test_a_database_whose_driver_is_missing_is_known(tmp_path: Path) -> None:
    (problem,) = json.loads(process_of("mysql+nowhere://u:s3cret@127.0.0.1/x").stdout)
    assert "The tracking database mysql+nowhere://127.0.0.1/x cannot be used" in problem
