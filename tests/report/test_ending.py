"""How a run ended is said out of what its stages left in the store, at every end, and as often as it is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sightline import report
from sightline.config.assignments import apply
from sightline.config.presets import quickstart
from sightline.documents import ErrorReport, SummaryDocument, Unchanged, ValidateDocument, read
from sightline.errors import StageInputError, StorageError
from sightline.run_store import RunStore, pack
from sightline.runtime.stage_frame import NAMES
from sightline.storage import open_store
from sightline.train.tracker import tracked, tracking
from tests.helpers.documents import train
from tests.helpers.left_in_store import leave
from tests.helpers.page import Page
from tests.helpers.s3_server import S3Server

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

STANDS = Unchanged(run_id="r0", name="night", status="registered", version="3", why="All is the same.")
UNREPORTED = NAMES[: NAMES.index("report")]
Ended = tuple[str | None, str | None, str | None]  # status, stage and kind of the error


@pytest.fixture
def run(tmp_path: Path) -> RunStore:
    return RunStore(open_store(str(tmp_path / "store")), "r1")


def finish(run: RunStore, tmp_path: Path, **options: Any) -> SummaryDocument:
    """Finish a run from a machine that has nothing of it; what it returns is what it wrote, here and in the store."""
    out = tmp_path / f"elsewhere {len(list(tmp_path.iterdir()))}"
    summary = report.finish(run, out, **options)
    assert read(SummaryDocument, out) == run.summary() == summary
    assert (out / "report.html").read_bytes() == run.store.get_bytes(run.key("report.html"))
    return summary


def end(summary: SummaryDocument) -> Ended:
    return summary.status, summary.error and summary.error.stage, summary.error and summary.error.kind


def outcomes(summary: SummaryDocument) -> list[str]:
    assert tuple(stage.name for stage in summary.stages) == NAMES
    return [stage.status for stage in summary.stages]


def error(stage: str, kind: str = "internal", message: str = "It broke <b>.", code: int = 1) -> ErrorReport:
    return ErrorReport(stage=stage, kind=kind, message=message, exit_code=code)


def refused(run: RunStore, tmp_path: Path) -> None:
    """Leave what validate does for data that the gate rejects: its report without its document, and the error."""
    folder = tmp_path / "refused"
    folder.mkdir()
    (folder / "data.html").write_text("<p>2 errors</p>")
    run.leave([pack("validate", folder, run.store, run.run_id)])
    run.fail(error("validate", "data-rejected", "cells has 2 errors", 3))


def unchanged(run: RunStore, tmp_path: Path) -> None:
    folder = leave(run, tmp_path / "made", ["validate"])["validate"]
    read(ValidateDocument, folder).model_copy(update={"unchanged": STANDS}).write(folder)
    run.leave([pack("validate", folder, run.store, run.run_id)])


ENDS: dict[str, tuple[Callable[[RunStore, Path], Any], Ended, list[str]]] = {
    "registered": (lambda run, path: leave(run, path / "made"), ("registered", None, None), ["done"] * 7),
    "accepted": (
        lambda run, path: leave(run, path / "made", NAMES[:6], tracked=False),
        ("accepted", None, None),
        ["done"] * 6 + ["skipped"],
    ),
    "rejected": (
        lambda run, path: leave(run, path / "made", NAMES[:6], verdict="rejected"),
        ("rejected", None, None),
        ["done"] * 6 + ["skipped"],
    ),
    "refused": (refused, ("rejected", "validate", "data-rejected"), ["failed"] + ["skipped"] * 6),
    "unchanged": (unchanged, ("unchanged", None, None), ["done"] + ["skipped"] * 6),
    "nothing": (lambda run, path: None, ("failed", "validate", "lost"), ["failed"] + ["skipped"] * 6),
}


@pytest.mark.parametrize("how", ENDS)
def test_every_end_has_its_summary_and_page_and_repeating_it_changes_nothing(
    run: RunStore, tmp_path: Path, how: str
) -> None:
    left, ended, stages = ENDS[how]
    left(run, tmp_path)
    summary = finish(run, tmp_path, name="tonight's run")
    assert (end(summary), outcomes(summary), summary.name) == (ended, stages, "tonight's run")
    objects = {entry.key: run.store.get_bytes(entry.key) for entry in run.store.entries()}
    assert finish(run, tmp_path) == summary, "also by hand, where the name is not known"
    assert {entry.key: run.store.get_bytes(entry.key) for entry in run.store.entries()} == objects
    verdicts = [key for key in objects if key.startswith("verdicts/")]
    assert bool(verdicts) == (how in ("registered", "accepted", "rejected")), "what a later run is compared with"
    assert not (tmp_path / "mlflow.db").exists(), "this machine's own database does not know the run"


@pytest.mark.parametrize("stage", NAMES)
def test_a_stage_that_failed_or_was_lost_is_named_and_the_others_stay_as_they_were(
    run: RunStore, tmp_path: Path, stage: str
) -> None:
    before = NAMES[: NAMES.index(stage)]
    leave(run, tmp_path / "made", before)
    stages = [*["done"] * len(before), "failed", *["skipped"] * (len(NAMES) - len(before) - 1)]
    lost = finish(run, tmp_path)
    assert (end(lost), outcomes(lost)) == (("failed", stage, "lost"), stages)
    assert lost.error
    cached = " (or, where that came from a cache, the stage behind it)" if stage in NAMES[1:4] else ""
    assert lost.error.message.startswith(f"The run ended before {stage}{cached} could leave a result")
    run.fail(error(stage))
    failed = finish(run, tmp_path)
    assert (failed.error, outcomes(failed)) == (error(stage), stages)
    assert (failed.data is not None, failed.train is not None) == ("validate" in before, "train" in before)
    assert f"The run stopped in {stage}." in Page(run.store.get_bytes(run.key("report.html")).decode()).text


def test_a_verdict_task_that_failed_counts_as_evaluate_and_of_two_errors_the_first_stage_is_named(
    run: RunStore, tmp_path: Path
) -> None:
    leave(run, tmp_path / "made", NAMES[:6])
    for stage in ("register", "evaluate"):
        run.fail(error(stage))
    summary = finish(run, tmp_path)
    assert end(summary) == ("failed", "evaluate", "internal")
    assert outcomes(summary) == [*["done"] * 3, "failed", "done", "done", "skipped"]
    assert summary.evaluate, "what is known is kept"


def test_a_failed_run_that_is_retried_to_a_good_end_is_registered(run: RunStore, tmp_path: Path) -> None:
    leave(run, tmp_path / "made", NAMES[:1])
    run.fail(error("train"))
    failed = finish(run, tmp_path, name="night")
    leave(run, tmp_path / "again", NAMES[1:], done_by={"train": "r0"})
    summary = finish(run, tmp_path)
    assert (end(summary), summary.name) == (("registered", None, None), "night")
    assert summary.finished_at > failed.finished_at
    assert [(stage.status, stage.note) for stage in summary.stages][:3] == [
        ("done", None),
        ("cached", "from run r0"),
        ("done", None),
    ]


def test_a_good_model_survives_drawings_that_the_store_lost(
    run: RunStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave(run, tmp_path / "made")
    sampled = run.record("sample")
    assert sampled
    run.store.delete([f"files/{sampled.files['000.jpg'].sha256}"])
    assert end(finish(run, tmp_path)) == ("registered", None, None)
    assert "note: the page lacks the gallery: The store lost 000.jpg of sample" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["train.json", "train.error.json", "document"])
def test_what_cannot_be_read_hides_no_result_and_leaves_the_store_and_mlflow_alone(
    run: RunStore,
    tmp_path: Path,
    name: str,
    closed_address: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", closed_address)
    leave(run, tmp_path / "made")
    finish(run, tmp_path)
    before = run.summary()
    if name == "document":
        record = run.record("train")
        assert record
        run.leave([record.model_copy(update={"documents": {"train.json": {"schema_version": 1}}})])
    else:
        run.store.put_bytes(f"runs/r1/{name}", b"{")
    with pytest.raises(StageInputError) as raised:
        report.finish(run, tmp_path / "out")
    summary = report.unknown(run.run_id, raised.value, tmp_path / "out", name="night")
    assert (summary.status, summary.name, summary.error and summary.error.exit_code) == ("failed", "night", 2)
    assert "`sightline report --run r1` finishes the run" in Page((tmp_path / "out" / "report.html").read_text()).text
    assert run.summary() == before
    assert capsys.readouterr().err == ""


@pytest.mark.server
def test_a_bucket_that_takes_nothing_still_gives_summary_and_page(
    s3: str,
    s3_server: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    leave(RunStore(open_store(f"s3://{s3}"), "r1"), tmp_path / "made")
    for variable, value in (("AWS_ACCESS_KEY_ID", "reader-key"), ("AWS_SECRET_ACCESS_KEY", "reader-secret")):
        monkeypatch.setenv(variable, value)
    summary = report.finish(RunStore(open_store(f"s3://{s3}"), "r1"), tmp_path / "out")
    assert end(summary) == ("registered", None, None)
    assert (tmp_path / "out" / "report.html").exists()
    assert "note: the summary could not be put into the store: " in capsys.readouterr().err
    monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("SIGHTLINE_S3_WAIT", "0")
    with pytest.raises(StorageError, match="does not answer") as raised:
        open_store(f"s3://{s3}")
    assert report.unknown("r1", raised.value, tmp_path / "out").error


# --- MLflow


def recorded(uri: str, experiment: str) -> list[Any]:
    import mlflow

    client = mlflow.MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id])) if found else []


def test_a_run_that_never_reached_report_has_one_mlflow_run_that_says_why(
    run: RunStore, tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.artifacts import load_dict, load_text

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    config = quickstart()
    config = config.model_copy(update={"register_": config.register_.model_copy(update={"experiment": "lost runs"})})
    long = f'tonight\'s "run" %x {"n" * 480}'
    other = RunStore(run.store, "r2")
    for each in (run, other):  # two runs of one name
        leave(each, tmp_path / each.run_id, ["validate"], config=config)
        each.fail(error("train", "train", "out of memory"))
    finish(run, tmp_path, name=long)
    finish(run, tmp_path)
    [only] = recorded(mlflow_server, "lost runs")
    assert only.info.status == "FAILED"
    assert only.info.run_name == long[:250]
    assert only.data.tags["sightline.status"] == "failed"
    assert (only.data.tags["sightline.run_id"], only.data.tags["sightline.name"]) == ("r1", long)
    assert only.data.tags["sightline.cause"] == "stage: train failed: out of memory."
    assert only.data.params["train.epochs"] == "20"
    assert load_dict(f"runs:/{only.info.run_id}/summary.json")["error"]["message"] == "out of memory"
    assert "The run stopped in train." in load_text(f"runs:/{only.info.run_id}/report.html")
    report.finish(other, tmp_path / "other", name=long)
    assert len(recorded(mlflow_server, "lost runs")) == 2

    # the same run, retried to a good end: its one record is taken up again
    folders = leave(run, tmp_path / "retried", UNREPORTED, config=config)
    document = report.run(run_id="r1", name=long, folders=folders, out=tmp_path / "retried" / "report")
    assert document.run_id == only.info.run_id
    (again,) = [each for each in recorded(mlflow_server, "lost runs") if each.info.run_id == only.info.run_id]
    assert "sightline.cause" not in again.data.tags
    run.leave([pack("report", tmp_path / "retried" / "report", run.store, "r1")])
    lost = finish(run, tmp_path)
    assert end(lost) == ("failed", "register", "lost")
    assert {each.info.status for each in recorded(mlflow_server, "lost runs")} == {"FAILED"}


def test_a_run_that_train_opened_gets_all_that_one_opened_at_the_end_has(
    run: RunStore, tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    config = apply(quickstart(), {"register.experiment": "lost in training"})
    leave(run, tmp_path / "made", ["validate"], config=config)
    begun = tracked(run, "r1")
    with tracking(begun, config.train) as tracker:
        assert tracker
        tracker.offer(train().history[:3])
    [opened] = recorded(mlflow_server, "lost in training")
    assert (opened.info.status, opened.info.run_name) == ("RUNNING", "r1")
    run.fail(error("train", "train", "out of memory"))
    finish(run, tmp_path, name="tonight's run")
    [only] = recorded(mlflow_server, "lost in training")
    assert only.info.run_id == opened.info.run_id
    assert (only.info.status, only.info.run_name) == ("FAILED", "tonight's run")
    assert only.data.params["train.epochs"] == "20"
    mlflow = MlflowClient(mlflow_server)
    assert [item.path for item in mlflow.list_artifacts(only.info.run_id, "documents")] == ["documents/validate.json"]
    assert [point.step for point in mlflow.get_metric_history(only.info.run_id, "train/map50")] == [1, 2, 3]


def test_a_refused_run_is_recorded_as_rejected_and_a_terminated_one_as_killed(
    run: RunStore, tmp_path: Path, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    experiment = quickstart().register_.experiment
    before = {each.info.run_id for each in recorded(mlflow_server, experiment)}
    turned_down, stopped = RunStore(run.store, "turned-down"), RunStore(run.store, "stopped")  # no other test's
    refused(turned_down, tmp_path)
    finish(turned_down, tmp_path)
    stopped.fail(error("train", "interrupted", "Interrupted.", 130))
    leave(stopped, tmp_path / "stopped", ["validate"])
    report.finish(stopped, tmp_path / "out")
    new = [each for each in recorded(mlflow_server, experiment) if each.info.run_id not in before]
    assert sorted((each.data.tags["sightline.status"], each.info.status) for each in new) == [
        ("failed", "KILLED"),
        ("rejected", "FINISHED"),
    ]


def test_a_tracking_server_that_is_away_switched_off_or_wrongly_switched_stops_nothing(
    run: RunStore,
    tmp_path: Path,
    closed_address: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run.fail(error("validate"))
    assert end(finish(run, tmp_path)) == ("failed", "validate", "internal")
    assert "note: MLFLOW_TRACKING_URI is not set here" in capsys.readouterr().err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", closed_address)
    assert end(finish(run, tmp_path)) == ("failed", "validate", "internal")
    assert "MLflow record does not say how it ended. No MLflow server answers at" in capsys.readouterr().err
    monkeypatch.setenv("SIGHTLINE_TRACKING", "false")
    assert end(finish(run, tmp_path)) == ("failed", "validate", "internal")
    assert "MLflow record does not say how it ended. SIGHTLINE_TRACKING is 'false', exp" in capsys.readouterr().err
    monkeypatch.setenv("SIGHTLINE_TRACKING", "off")
    assert end(finish(run, tmp_path)) == ("failed", "validate", "internal")
    assert capsys.readouterr().err == ""


def test_the_page_has_the_pictures_of_the_training_and_without_them_says_so(
    run: RunStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave(run, tmp_path / "made")
    finish(run, tmp_path)
    assert "What training saw" in run.store.get_bytes(run.key("report.html")).decode()
    record = run.record("train")
    assert record
    run.store.delete([f"files/{record.files['sheets/train.jpg'].sha256}"])
    finish(run, tmp_path)
    assert "What training saw" not in run.store.get_bytes(run.key("report.html")).decode()
    assert "the page lacks pictures of the training" in capsys.readouterr().err
