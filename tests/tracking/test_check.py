"""What is asked of the tracking server before a run costs anything, and what is said where it cannot be used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sightline.config import RegisterConfig
from sightline.datasets.synthetic import draw
from sightline.errors import TrackingError
from sightline.tracking import address, answers, check, reach, server
from tests.helpers.tracking import ask

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("500", "its API answers 500: no database"),
        ("503", "its API answers 503"),
        ("401", "it refuses the credentials (401: no database). Set MLFLOW_TRACKING_USERNAME"),
        ("403", "it refuses the credentials (403"),
        ("404", "there is no MLflow at this address (404)"),
        ("page", "it answers with a page, not as MLflow's API does: a login page"),
        ("empty", "it answers with nothing, where MLflow's API answers with JSON. Fix MLFLOW_TRACKING_URI"),
        ("no content", "it answers with nothing, where MLflow's API answers with JSON (204). Fix MLFLOW_TRACKING_URI"),
        *((odd, "it answers, but not as MLflow's API does") for odd in ("list", "null", "text", "number", "other")),
        ("object", "it answers, but not as MLflow's API does: another service, most likely. Fix MLFLOW_TRACKING_URI"),
        ("mute", "its API answers 400. See"),
        ("errors", "its API answers 500: [1, 2]. See"),
        ("loop", "it sends a request from address to address without end. Fix"),
        ("cut", "its answer was cut, or cannot be decoded. Fix"),
        ("close", "it closes the connection without an answer. Fix"),
    ],
)
def test_an_api_that_does_not_work_is_distinguished_from_one_that_is_healthy(
    fake: Callable[[str], str], mode: str, words: str
) -> None:
    uri = fake(mode)
    assert reach.address_problem(uri) is None
    (problem,) = check.of_server(uri.replace("http://", "http://anna:s3cret@"), "sightline", "detector")
    assert problem.startswith(f"MLflow at {uri} cannot be used: {words}")


@pytest.mark.parametrize(
    ("status", "text", "words"),
    [
        (
            200,
            "<html>Sign in</html>",
            "it answers with a page, not as MLflow's API does: a login page or another service",
        ),
        (200, "[]", "it answers, but not as MLflow's API does: another service, most likely"),
        (404, "<html>nothing</html>", "its API answers 404. Fix MLFLOW_TRACKING_URI, or use an MLflow server of ver"),
        (403, '{"error_code": "PERMISSION_DENIED", "message": "not you"}', "PERMISSION_DENIED: not you. Set MLFLOW_TR"),
        (500, '{"error_code": "INTERNAL_ERROR", "message": null}', "INTERNAL_ERROR. See the server's own log"),
    ],
)
def test_one_cause_is_said_once_with_what_to_do(
    fake: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, status: int, text: str, words: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri = fake(f"later {json.dumps([status, text])}")
    server.quiet_mlflow()
    answers.keep_messages()
    (problem,) = check.of_server(uri, "sightline", "detector")
    assert f"MLflow at {uri} does not answer for the experiment, its experiments" in problem
    assert words in problem


@pytest.mark.parametrize(
    ("status", "text", "words"),
    [
        (
            403,
            '{"error_code": "PERMISSION_DENIED", "message": "read only"}',
            "PERMISSION_DENIED: read only. Set MLFLOW_",
        ),
        (500, '{"error_code": "INTERNAL_ERROR", "message": "database is locked"}', "database is locked. See the serv"),
        (503, "<html>down</html>", "its API answers 503. See the server's own log"),
        (200, "<html>Sign in</html>", "it answers with a page, not as MLflow's API does"),
    ],
)
def test_a_write_that_is_refused_is_explained_by_its_kind(
    fake: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, status: int, text: str, words: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri = fake(f"write {json.dumps([status, text])}")
    with pytest.raises(TrackingError) as caught, server.client(uri) as mlflow:
        mlflow.create_run("7")
    assert f"MLflow at {uri} refused: " in caught.value.message
    assert words in caught.value.message
    assert caught.value.message.endswith("Nothing is lost: run this stage again.")
    assert "start it" not in caught.value.message.lower()


def test_a_registry_of_its_own_is_asked_before_and_blamed_after(
    fake: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, closed_address: str, tmp_path: Path
) -> None:
    tracking = f"sqlite:///{tmp_path}/mlflow.db"
    for uri, words in {
        closed_address: f"No MLflow server answers at {closed_address}: connection refused. Start one, "
        "fix MLFLOW_REGISTRY_URI, or",
        "garbage://x": "MLFLOW_REGISTRY_URI is 'garbage://x', expected an address that begins with one of http://",
        "http://127.0.0.1:99999": "MLFLOW_REGISTRY_URI is 'http://127.0.0.1:99999', in which the port is not a number",
        "sqlite:////proc/nowhere/models.db": "The registry database /proc/nowhere/models.db cannot be made",
        fake("page"): "it answers with a page",
    }.items():
        monkeypatch.setenv("MLFLOW_REGISTRY_URI", uri)
        (problem,) = ask(tracking)
        assert words in problem
        assert "TRACKING_URI" not in problem
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    working = fake(f"write {json.dumps([404, '{}'])}")
    refusing = fake("write " + json.dumps([403, '{"error_code": "PERMISSION_DENIED", "message": "read only"}']))
    for uri, words in {
        closed_address: "connection refused. Start it, or fix MLFLOW_REGISTRY_URI. Nothing is lost",
        refusing: f"MLflow at {refusing} refused: PERMISSION_DENIED: read only",
    }.items():
        monkeypatch.setenv("MLFLOW_REGISTRY_URI", uri)
        with pytest.raises(TrackingError) as caught, server.client(working, "register") as mlflow:
            mlflow.create_registered_model("detector")
        assert words in caught.value.message


def test_tls_where_there_is_none_is_said(fake: Callable[[str], str]) -> None:
    (problem,) = check.of_server(fake("500").replace("http://", "https://"), "sightline", "detector")
    assert "TLS failed ([SSL: " in problem


def test_a_server_that_works_is_distinguished_from_what_in_it_does_not_fit(
    mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    assert check.of_server(mlflow_server, "not made yet", "not made yet") == []
    client = mlflow.MlflowClient(mlflow_server)
    client.delete_experiment(client.create_experiment("deleted before"))
    client.create_registered_model("made before")
    assert check.of_server(mlflow_server, "not made yet", "made before") == []
    client.register_prompt("asked", "What is in {{image}}?")
    opened = client.create_run("0", tags={address.RUN_TAG: "another"})
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


def known_at_once(uri: str) -> list[str]:
    with check.asking(uri, RegisterConfig()) as asked:
        assert asked.child is None, "no process that loads MLflow is started"
        return asked.problems()


def test_addresses_that_cannot_be_are_known_at_once(closed_address: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, but long enough to be one")
    (problem,) = known_at_once(closed_address.replace("http://", "http://anna:s3cret@"))
    assert f"No MLflow server answers at {closed_address}: connection refused" in problem
    for uri, words in {
        "file:///tmp/mlruns": "expected an address that begins with one of http://",
        "localhost:5000": "expected an address that begins with",
        "nonsense://x": "expected an address that begins with",
        "/tmp/mlruns": "expected an address that begins with",
        "http://[::1": "MLFLOW_TRACKING_URI is 'http://[::1', in which the brackets of an IPv6 address do not close",
        "http://localhost:port": "in which the port is not a number from 1 to 65535. Correct it, or unset it",
        "http://localhost:99999": "in which the port is not a number from 1 to 65535",
        "http://": "in which the host is missing",
        " http://localhost:1": "with a space before or after the address",
        "sqlite:////proc/nowhere/mlflow.db": "/proc is not a writable folder",
        f"sqlite:///{tmp_path}": "is not a writable file",
        f"sqlite:///{tmp_path}/text": "is not a SQLite database",
        "sqlite://": "a database in memory",
    }.items():
        (problem,) = known_at_once(uri)
        assert words in problem, uri
    assert known_at_once(f"sqlite:///{tmp_path}/new/mlflow.db") == []
    assert not (tmp_path / "new").exists()


def test_a_run_is_refused_with_all_that_is_known_while_data_alone_asks_no_server(
    fake: Callable[[str], str], command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    draw(tmp_path / "data")
    uri = fake("hang")
    wrong = ("--set", "train.freeze=9999", "--set", "export.nms_free=true", "--set", "register.alias=latest")
    done = command(
        *("validate", "--data", "data", "--run", "r", "--weights", "yolo11n.yaml", *wrong),
        cwd=tmp_path, MLFLOW_TRACKING_URI=uri,
    )  # fmt: skip
    assert done.returncode == 2
    for words in (
        "register.alias: got 'latest'",
        "train.freeze: got 9999, but yolo11n.yaml has 24 layers",
        "export.nms_free: got true, but yolo11n.yaml has no one-to-one head",
        f"MLflow at {uri} cannot be used: it accepted a request and gave no answer within 10 s",
    ):
        assert words in done.stderr, done.stderr
    alone = command("validate", "--data", "data", "--json", cwd=tmp_path, MLFLOW_TRACKING_URI=uri)
    assert alone.returncode == 0, alone.stderr
    assert json.loads(alone.stdout)["verdict"] == "accepted"


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
        time.sleep(server.SECONDS_BEFORE_NOTICE + 0.5)
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
