"""The main job as a user runs it: one real run of the quickstart, offline, and what it leaves behind."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.finished_run import Finished, network_can_be_cut

pytestmark = pytest.mark.timeout(600)


def test_learns_and_registers(quickstart: Finished) -> None:
    assert quickstart.exit_code == 0
    assert quickstart.summary["status"] == "registered"
    assert quickstart.summary["evaluate"]["map50"] >= 0.80
    assert quickstart.summary["register"]["aliases"] == ["candidate"]
    assert quickstart.summary["error"] is None


@pytest.mark.skipif(not network_can_be_cut(), reason="this user may not make a network namespace")
def test_needs_no_network(quickstart: Finished) -> None:
    log = (quickstart.folder / "pipeline.log").read_text() + (quickstart.folder / "train" / "train.log").read_text()
    assert quickstart.summary["status"] == "registered"
    for word in ("Network is unreachable", "Temporary failure in name resolution", "Download failure"):
        assert word not in log


def test_score_belongs_to_the_registered_bytes(quickstart: Finished) -> None:
    digest = hashlib.sha256((quickstart.folder / "export" / "model.onnx").read_bytes()).hexdigest()
    stored = [
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in quickstart.folder.parent.rglob("mlartifacts/**/*.onnx")
    ]
    assert quickstart.summary["export"]["sha256"] == digest
    assert json.loads((quickstart.folder / "evaluate" / "evaluate.json").read_text())["onnx_sha256"] == digest
    assert stored == [digest]


def test_summary_holds_the_promised_keys(quickstart: Finished) -> None:
    summary = json.loads((quickstart.folder / "summary.json").read_text())
    assert summary == quickstart.summary
    assert set(summary) >= {
        *("schema_version", "run_id", "status", "rejected_by", "started_at", "finished_at", "git_commit", "packages"),
        *("hardware", "data", "train", "export", "evaluate", "register", "stages", "error"),
    }
    assert summary["data"]["images"] == {"train": 144, "val": 32, "test": 40}
    assert summary["train"]["epochs_completed"] == 20
    assert summary["export"]["parity"]["passed"]
    assert summary["export"]["parity"]["matched"] > 100
    assert [stage["status"] for stage in summary["stages"]] == ["done"] * 7


def test_every_epoch_is_recorded_once_in_one_mlflow_run(quickstart: Finished) -> None:
    with sqlite3.connect(quickstart.folder.parent / "mlflow.db") as database:
        runs = database.execute("select run_uuid, status from runs").fetchall()
        steps = database.execute("select step from metrics where key = 'train/map50' order by step").fetchall()
    assert runs == [(quickstart.summary["register"]["run_id"], "FINISHED")]
    assert [step for (step,) in steps] == list(range(1, 21))


def test_leaves_no_temporary_files_and_no_other_trackers_files(quickstart: Finished) -> None:
    runs = quickstart.folder.parent
    assert not (quickstart.folder / "tmp").exists()
    assert list((runs / "work").iterdir()) == []
    assert sorted(path.name for path in runs.parent.iterdir()) == [
        "cache",
        *(["home"] if (runs.parent / "home").exists() else []),
        "runs",
        "stderr.txt",
    ]
    assert not list(runs.parent.rglob("mlruns"))


def test_page_is_there_and_final(quickstart: Finished) -> None:
    page = (quickstart.folder / "report.html").read_text()
    assert "Registered" in page
    assert "quickstart-smear, version 1" in page


def test_same_training_is_recognised_and_the_gate_still_judges_again(
    quickstart: Finished, command: Callable, tmp_path: Path
) -> None:
    done = command(
        *("run", "--json", "--run-id", "strict", "--set", "gate.min_map50=0.999"),
        cwd=quickstart.folder.parents[1],
        SIGHTLINE_CACHE=str(quickstart.folder.parents[1] / "cache"),
        SIGHTLINE_STORE=f"file://{quickstart.folder.parent}/store",
    )
    summary = json.loads(done.stdout)
    status = {stage["name"]: stage["status"] for stage in summary["stages"]}
    assert done.returncode == 3
    assert (summary["status"], summary["rejected_by"]) == ("rejected", "score")
    assert status["train"] == "cached"
    assert (status["evaluate"], status["report"], status["register"]) == ("done", "done", "skipped")
    assert summary["export"]["sha256"] == quickstart.summary["export"]["sha256"]
    assert "below the minimum 0.999" in summary["evaluate"]["reasons"][0]
    with sqlite3.connect(quickstart.folder.parent / "mlflow.db") as database:
        assert database.execute("select count(*) from model_versions").fetchone() == (1,)
        assert database.execute("select count(*) from runs").fetchone() == (2,)


def test_with_tracking_off_the_run_is_accepted_and_mlflow_hears_nothing(
    quickstart: Finished, command: Callable
) -> None:
    runs = quickstart.folder.parent
    places = {"SIGHTLINE_CACHE": str(runs.parent / "cache"), "SIGHTLINE_STORE": f"file://{runs}/store"}
    with sqlite3.connect(runs / "mlflow.db") as database:
        before = database.execute("select count(*) from runs").fetchone()
        done = command("run", "--run-id", "untracked", cwd=runs.parent, SIGHTLINE_TRACKING="off", **places)
        assert done.returncode == 0, done.stderr
        assert database.execute("select count(*) from runs").fetchone() == before
    assert "ACCEPTED: tracking is switched off" in done.stdout
    assert "mlflow ui" not in done.stdout
    summary = json.loads((runs / "untracked" / "summary.json").read_text())
    status = {stage["name"]: stage["status"] for stage in summary["stages"]}
    assert (summary["status"], summary["register"], summary["error"]) == ("accepted", None, None)
    assert (status["train"], status["report"]) == ("cached", "done")
    assert "<h1>Accepted</h1>" in (runs / "untracked" / "report.html").read_text()


def test_id_of_a_registered_run_is_taken(quickstart: Finished, command: Callable) -> None:
    done = command("run", "--run-id", "first", cwd=quickstart.folder.parents[1])
    assert done.returncode == 2
    assert "ended as registered" in done.stderr
    assert "Choose another --run-id" in done.stderr
    assert "Traceback" not in done.stderr
