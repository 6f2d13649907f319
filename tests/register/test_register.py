"""What is registered is the file that was scored, once, under an alias that leads to its bytes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from sightline import register, report
from sightline.config import RunConfig
from sightline.config.assignments import apply
from sightline.config.presets import quickstart
from sightline.documents import RegisterDocument, ReportDocument, SummaryDocument, read
from sightline.errors import StageInputError, TrackingError
from sightline.tracking import address
from tests.helpers.documents import write_run

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]


def named(name: str) -> RunConfig:
    return apply(quickstart(), {"register.model_name": name})


def reported(root: Path, run_id: str, **options: Any) -> dict[str, Path]:
    folders = write_run(root, **options)
    report.run(run_id=run_id, folders=folders, out=root / "report")
    return {**folders, "report": root / "report"}


def client(uri: str) -> Any:
    import mlflow

    return mlflow.MlflowClient(uri)


def test_the_alias_leads_to_the_scored_bytes_on_a_real_server(
    tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    folders = reported(tmp_path, "r1", config=named("smear"))
    document = register.run(run_id="r1", folders=folders, out=tmp_path / "register")
    sha256 = hashlib.sha256((tmp_path / "export" / "model.onnx").read_bytes()).hexdigest()
    assert (document.model_name, document.version, document.aliases) == ("smear", "1", ["candidate"])
    assert document.onnx_sha256 == sha256
    assert read(RegisterDocument, tmp_path / "register") == document

    from mlflow.artifacts import download_artifacts

    root = Path(download_artifacts(artifact_uri="models:/smear@candidate", dst_path=str(tmp_path / "down")))
    assert hashlib.sha256((root / "model.onnx").read_bytes()).hexdigest() == sha256

    mlflow = client(mlflow_server)
    version = mlflow.get_model_version_by_alias("smear", "candidate")
    assert version.run_id == document.run_id
    assert version.tags["sightline.map50"] == "0.8260"
    assert version.tags["sightline.onnx_sha256"] == sha256
    assert version.tags["sightline.snapshot"] == "5f" * 32
    assert version.tags["sightline.weights_licence"] == "AGPL-3.0"
    assert "**mAP50-95 0.595, mAP50 0.826** on 90 images" in version.description
    assert "| gametocyte | 0 | no samples | no samples |" in version.description
    assert "<script" not in version.description
    logged = mlflow.get_logged_model(version.source.removeprefix("models:/"))
    assert logged.experiment_id == mlflow.get_run(document.run_id).info.experiment_id
    assert mlflow.get_run(document.run_id).data.tags["sightline.status"] == "registered"


def test_names_that_the_registry_takes_do_not_fail_elsewhere(
    tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A logged model's name may hold no dot; a description has an end; the run of a refused model reads so."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    folders = reported(tmp_path, "many", config=named("smear.v2"))
    path = folders["evaluate"] / "evaluate.json"
    document = json.loads(path.read_text())
    document["per_class"] = [{**document["per_class"][0], "name": f"a class with a long name {n}"} for n in range(300)]
    path.write_text(json.dumps(document))
    recorded = read(ReportDocument, folders["report"])
    mlflow = client(mlflow_server)
    assert mlflow.get_run(recorded.run_id).info.status == "RUNNING"
    registered = register.run(run_id="many", folders=folders, out=tmp_path / "register")
    version = mlflow.get_model_version("smear.v2", registered.version)
    assert 4900 < len(version.description) <= 5000
    assert " more classes are in the report." in version.description
    assert "- Pipeline run: `many`" in version.description
    run = mlflow.get_run(recorded.run_id)
    assert (run.info.status, run.data.tags["sightline.status"]) == ("FINISHED", "registered")
    assert run.info.start_time < run.info.end_time


def test_a_model_that_cannot_be_registered_leaves_a_failed_run(
    tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    folders = reported(tmp_path, "refused", config=named("refused"))
    path = folders["validate"] / "validate.json"
    path.write_text(path.read_text().replace('"refused"', '"a/b"'))  # what no check would let pass
    with pytest.raises(StageInputError, match=r"register\.model_name"):
        register.run(run_id="refused", folders=folders, out=tmp_path / "register")


def test_the_signature_comes_from_the_graph(tmp_path: Path) -> None:
    folders = reported(tmp_path, "r1")
    document = register.run(run_id="r1", folders=folders, out=tmp_path / "register")
    from mlflow.models import get_model_info

    signature = get_model_info(f"models:/{document.model_name}/{document.version}").signature
    assert [(spec.name, spec.shape, spec.type.name) for spec in signature.inputs] == [
        ("images", (-1, 3, -1, -1), "float32")
    ]
    assert [(spec.name, spec.shape) for spec in signature.outputs] == [("output0", (-1, 3, 1, 1))]


def test_registering_again_returns_the_version_that_is_there(tmp_path: Path) -> None:
    folders = reported(tmp_path, "r1")
    first = register.run(run_id="r1", folders=folders, out=tmp_path / "register")
    again = register.run(run_id="r1", folders=folders, out=tmp_path / "again")
    assert (first.version, again.version) == ("1", "1")
    assert len(client(address.tracking_uri()).search_model_versions("name = 'quickstart-smear'")) == 1


def test_a_late_retry_does_not_take_the_alias_back_from_a_newer_version(tmp_path: Path) -> None:
    old, new = reported(tmp_path / "a", "a"), reported(tmp_path / "b", "b")
    register.run(run_id="a", folders=old, out=tmp_path / "a" / "register")
    newer = register.run(run_id="b", folders=new, out=tmp_path / "b" / "register")
    assert (newer.version, newer.aliases) == ("2", ["candidate"])
    again = register.run(run_id="a", folders=old, out=tmp_path / "a" / "register")
    assert (again.version, again.aliases) == ("1", [])
    mlflow = client(address.tracking_uri())
    assert str(mlflow.get_model_version_by_alias("quickstart-smear", "candidate").version) == "2"


def test_the_final_summary_is_written_and_recorded(tmp_path: Path) -> None:
    folders = reported(tmp_path, "r1")
    assert read(SummaryDocument, folders["report"]).status is None
    document = register.run(run_id="r1", folders=folders, out=tmp_path / "register")
    result = read(SummaryDocument, tmp_path / "register")
    assert result.status == "registered"
    assert result.register_
    assert result.register_.version == "1"
    assert [stage.name for stage in result.stages][-2:] == ["report", "register"]
    stored = tmp_path / "runs" / "mlartifacts" / document.run_id / "artifacts" / "summary.json"
    assert json.loads(stored.read_text())["register"]["model_name"] == "quickstart-smear"


def test_a_rejected_model_is_not_registered(tmp_path: Path) -> None:
    folders = reported(tmp_path, "r1", verdict="rejected")
    with pytest.raises(StageInputError, match=r"The score gate rejected this model.*at least 0.9"):
        register.run(run_id="r1", folders=folders, out=tmp_path / "register")
    assert client(address.tracking_uri()).search_registered_models() == []


@pytest.mark.parametrize("name", ["export", "evaluate"])
def test_bytes_other_than_the_scored_ones_are_not_registered(tmp_path: Path, name: str) -> None:
    folders = reported(tmp_path, "r1")
    path = folders[name] / f"{name}.json"
    document = json.loads(path.read_text())
    document["sha256" if name == "export" else "onnx_sha256"] = "ab" * 32
    path.write_text(json.dumps(document))
    with pytest.raises(StageInputError, match=rf"{name}\.json names abab.*export and evaluate again"):
        register.run(run_id="r1", folders=folders, out=tmp_path / "register")


def test_a_registry_that_lost_the_bytes_is_found_out(tmp_path: Path) -> None:
    folders = reported(tmp_path, "r1")
    register.run(run_id="r1", folders=folders, out=tmp_path / "register")
    (stored,) = (tmp_path / "runs" / "mlartifacts" / "models").glob("*/artifacts/model.onnx")
    stored.write_bytes(b"other bytes")
    with pytest.raises(TrackingError, match="Version 1 of 'quickstart-smear' in the model registry holds a file with"):
        register.run(run_id="r1", folders=folders, out=tmp_path / "register")


def test_a_registry_that_is_down_gives_one_clear_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = reported(tmp_path, "r1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(TrackingError, match=r"No MLflow server answers at http://127\.0\.0\.1:1: connection refused"):
        register.run(run_id="r1", folders=folders, out=tmp_path / "register")
