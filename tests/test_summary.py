"""The consolidated result says how a run ended, from whatever its stages left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.config.assignments import flat
from sightline.config.presets import quickstart
from sightline.documents import (
    DataDocument,
    ErrorReport,
    RegisterDocument,
    StageOutcome,
    SummaryDocument,
    Unchanged,
    ValidateDocument,
    load,
    read,
)
from sightline.errors import StageInputError
from sightline.summary import summarise
from tests.helpers.documents import CLASSES, write_run
from tests.helpers.sets import Sets

STANDS = Unchanged(run_id="r0", name="night", status="registered", version="3", why="All is the same.")
STARTED = "2026-11-21T08:07:11+00:00"
DATA_REJECTED = ErrorReport(stage="validate", kind="data-rejected", message="2 errors", exit_code=3)
OUT_OF_MEMORY = ErrorReport(stage="train", kind="train", message="killed by signal 9", exit_code=1)


def registered(folder: Path) -> Path:
    RegisterDocument(
        model_name="smear",
        version="3",
        aliases=["candidate"],
        tracking_uri="http://127.0.0.1:5000",
        run_id="9f",
        onnx_sha256="0" * 64,
        seconds=4.2,
    ).write(folder)
    return folder


def summary(folders: dict[str, Path], error: ErrorReport | None = None) -> SummaryDocument:
    return summarise(run_id="r1", folders=folders, started_at=STARTED, error=error)


def test_an_accepted_run_has_no_status_until_the_registry_holds_its_model(tmp_path: Path) -> None:
    folders = write_run(tmp_path)
    before = summary(folders)
    assert (before.status, before.rejected_by, before.register_) == (None, None, None)
    after = summary({**folders, "register": registered(tmp_path / "register")})
    assert (after.status, after.rejected_by) == ("registered", None)
    assert after.register_
    assert (after.register_.model_name, after.register_.version) == ("smear", "3")


def test_a_run_that_had_nothing_to_train_is_unchanged_and_names_the_run_that_stands(tmp_path: Path) -> None:
    folders = write_run(tmp_path, stages=["validate"])
    document = read(ValidateDocument, folders["validate"])
    assert summary(folders).unchanged is None
    document.model_copy(update={"unchanged": STANDS}).write(folders["validate"])
    ended = summary(folders)
    assert (ended.status, ended.rejected_by, ended.unchanged) == ("unchanged", None, STANDS)
    assert summary(folders, OUT_OF_MEMORY).status == "failed"


@pytest.mark.parametrize(
    ("verdict", "error", "stages", "expected"),
    [
        ("rejected", None, None, ("rejected", "score")),
        ("accepted", DATA_REJECTED, ["validate"], ("rejected", "data")),
        ("accepted", DATA_REJECTED, [], ("rejected", "data")),
        ("accepted", OUT_OF_MEMORY, ["validate"], ("failed", None)),
        ("rejected", OUT_OF_MEMORY, None, ("failed", None)),
        ("accepted", None, [], (None, None)),
    ],
)
def test_status_tells_rejected_from_failed(
    tmp_path: Path, verdict: str, error: ErrorReport | None, stages: list[str] | None, expected: tuple[str, str]
) -> None:
    result = summary(write_run(tmp_path, verdict=verdict, stages=stages), error)
    assert (result.status, result.rejected_by) == expected


def test_it_holds_the_keys_and_numbers_that_others_rely_on(tmp_path: Path) -> None:
    result = json.loads(summary(write_run(tmp_path)).model_dump_json(by_alias=True))
    assert result["data"]["images"] == {"train": 410, "val": 88, "test": 90}
    assert result["data"]["issues"] == {"error": 1, "warning": 26}
    assert result["train"]["attempts"] == 2
    assert result["train"]["weights_sha256"] == "0e" * 32
    assert result["export"]["parity"]["matched"] == 412
    assert result["evaluate"]["map50"] == 0.826
    assert result["evaluate"]["per_class"][4]["map50"] is None
    assert result["register"] is None
    assert [stage["name"] for stage in result["stages"]] == ["validate", "train", "export", "evaluate", "sample"]
    assert result["packages"]["torch"] == "2.13.0"
    assert result["packages"]["python"]
    assert result["hardware"]["gpus"] == ["NVIDIA H100", "NVIDIA H100"]


def test_parts_that_were_not_reached_are_null(tmp_path: Path) -> None:
    result = summary(write_run(tmp_path, stages=["validate"]), OUT_OF_MEMORY)
    assert (result.train, result.export, result.evaluate, result.hardware) == (None, None, None, None)
    assert result.data
    assert result.data.classes == list(CLASSES)
    assert result.error == OUT_OF_MEMORY


def test_the_model_is_named_also_where_the_data_gate_refused_what_it_was_to_train_on(
    tmp_path: Path, sets: Sets, rejected: Callable[..., DataDocument]
) -> None:
    assert summary(write_run(tmp_path / "whole")).model_name == "quickstart-smear"
    folder = sets.yolo()
    (next(folder.rglob("train/*.txt"))).write_text("x 0.5 0.5 0.2 0.2")
    rejected(folder)
    refused = summary({"validate": tmp_path / "out"}, DATA_REJECTED)
    assert (refused.rejected_by, refused.model_name) == ("data", "detector")
    assert summary({}, OUT_OF_MEMORY).model_name is None


def test_outcomes_of_the_orchestrator_are_kept_and_the_document_reads_back(tmp_path: Path) -> None:
    stages = [StageOutcome(name="validate", seconds=14.2, status="cached")]
    result = summarise(run_id="r1", folders=write_run(tmp_path), started_at=STARTED, stages=stages)
    result.write(tmp_path)
    assert read(SummaryDocument, tmp_path) == result
    assert result.stages == stages


def test_a_damaged_document_is_refused_by_name(tmp_path: Path) -> None:
    folders = write_run(tmp_path)
    (folders["train"] / "train.json").write_text("{}")
    with pytest.raises(StageInputError, match=r"train\.json is not what `sightline train` of this version writes"):
        load(folders)


def test_the_flat_configuration_has_the_keys_of_set() -> None:
    values = flat(quickstart())
    assert values["train.epochs"] == 20
    assert values["train.augment.mosaic"] == 0.0
    assert values["register.model_name"] == "quickstart-smear"
    assert values["gate.min_recall"] is None
