"""`sightline report --run ID` finishes a run of which this machine has nothing, out of the store."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from sightline.documents import ErrorReport
from sightline.run_store import RunStore
from sightline.storage import open_store
from tests.helpers.left_in_store import leave

Command = Callable[..., "subprocess.CompletedProcess[str]"]
RUN = "2a4d9a05-0f4b-4a1e-9f5d-8c0c6a8f2b11"


def test_a_terminated_run_is_finished_and_repeating_it_changes_nothing(tmp_path: Path, command: Command) -> None:
    run = RunStore(open_store(str(tmp_path / "store")), RUN)
    leave(run, tmp_path / "made", ["validate"])
    run.fail(ErrorReport(stage="train", kind="interrupted", message="Interrupted.", exit_code=130))
    (tmp_path / "empty").mkdir()
    first = command("report", "--run", RUN, cwd=tmp_path / "empty")
    assert first.returncode == 0, first.stderr
    assert "FAILED in train\nInterrupted.\n" in first.stdout
    assert f"{run.store.uri}/runs/{RUN}/report.html" in first.stdout.replace("\n", "")
    before = run.store.get_bytes(f"runs/{RUN}/summary.json")
    again = command("report", "--run", RUN, "--json", cwd=tmp_path / "empty")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == json.loads(before)
    assert run.store.get_bytes(f"runs/{RUN}/summary.json") == before
    assert "MLFLOW_TRACKING_URI is not set here" in again.stderr
    assert list((tmp_path / "empty").iterdir()) == []


def test_an_unknown_run_or_no_store_is_one_message(tmp_path: Path, command: Command) -> None:
    (tmp_path / "empty").mkdir()
    unknown = command("report", "--run", RUN, cwd=tmp_path / "empty")
    assert unknown.returncode == 2
    assert f"There is no folder {RUN} here, and the store" in unknown.stderr
    without = command("report", "--run", RUN, "--json", cwd=tmp_path / "empty", SIGHTLINE_STORE="")
    assert without.returncode == 2
    error = json.loads(without.stdout)["error"]
    assert (error["kind"], error["exit_code"]) == ("usage", 2)
    assert error["message"].endswith("and SIGHTLINE_STORE, the store in which that works.")
    assert list((tmp_path / "empty").iterdir()) == []
