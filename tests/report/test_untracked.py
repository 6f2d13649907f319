"""With tracking switched off a good run ends as accepted and can be registered later; a pod without a store says so."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline import register, report
from sightline.documents import StageOutcome, SummaryDocument, read
from tests.helpers.documents import write_run

OFF = {"SIGHTLINE_TRACKING": "off"}


@pytest.mark.parametrize(("verdict", "status"), [("accepted", "accepted"), ("rejected", "rejected")])
def test_a_run_without_tracking_is_decided_by_its_gate(
    verdict: str, status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_address: str
) -> None:
    monkeypatch.setenv("SIGHTLINE_TRACKING", "off")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", closed_address)
    folders = write_run(tmp_path, verdict=verdict)
    document = report.run(run_id="r1", folders=folders, out=tmp_path / "report")
    assert (document.tracking_uri, document.experiment, document.run_id) == (None, None, None)
    assert read(SummaryDocument, tmp_path / "report").status == status
    folders["report"] = tmp_path / "report"
    if verdict == "accepted":
        assert "no registry" in (tmp_path / "report" / "report.html").read_text()
        assert register.run(run_id="r1", folders=folders, out=tmp_path / "register") is None
        assert not (tmp_path / "register").exists()
    monkeypatch.delenv("SIGHTLINE_TRACKING")  # whoever concludes knows it from the report
    stages = [StageOutcome(name="report", seconds=1.0, status="done")]
    ended = report.conclude(run_id="r1", folders=folders, out=tmp_path, stages=stages)
    assert (ended.status, ended.error) == (status, None)
    page = (tmp_path / "report.html").read_text()
    assert f"<h1>{status.capitalize()}</h1>" in page
    assert "none: tracking is off" in page
    assert "Registration follows" not in page


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
def test_a_run_without_tracking_is_recorded_and_registered_once_it_is_on(
    tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    folder = tmp_path / "runs" / "mine"
    write_run(folder)
    reported = command("report", "--run", "runs/mine", cwd=tmp_path, **OFF)
    assert reported.returncode == 0, reported.stderr
    assert "no MLflow run: tracking is switched off (SIGHTLINE_TRACKING=off)" in reported.stdout
    assert read(SummaryDocument, folder).status == "accepted"
    refused = command("register", "--run", "runs/mine", cwd=tmp_path, **OFF)
    assert refused.returncode == 2
    assert "There is no model registry: tracking is switched off (SIGHTLINE_TRACKING=off). Unset it" in refused.stderr
    early = command("register", "--run", "runs/mine", cwd=tmp_path)
    assert early.returncode == 2
    assert "was written while tracking was switched off" in early.stderr
    assert not (tmp_path / "runs" / "mlflow.db").exists()
    assert command("report", "--run", "runs/mine", "--json", cwd=tmp_path).returncode == 0
    registered = command("register", "--run", "runs/mine", "--json", cwd=tmp_path)
    assert registered.returncode == 0, registered.stderr
    assert json.loads(registered.stdout)["version"] == "1"
    assert read(SummaryDocument, folder).status == "registered"
