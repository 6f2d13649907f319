"""The folder of a run on this machine is whole, whichever of its stages came from a cache."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

import pytest

from sightline.orchestrate import claim, outcome
from sightline.run_store import RunStore
from sightline.storage import open_store
from tests.helpers.events import write_events
from tests.helpers.left_in_store import leave


def folder_of(root: Path, ended: Collection[str]) -> Path:
    """A run that its runner ended well, with the events of the stages that worked in this attempt."""
    folder = root / "runs" / "r1"
    folder.mkdir(parents=True)
    write_events(folder, ended)
    return folder


@pytest.mark.parametrize("made_by", ["r0", "r1"], ids=["another run", "an earlier attempt"])
def test_files_of_a_stage_that_came_from_a_cache_are_fetched(tmp_path: Path, made_by: str) -> None:
    store = tmp_path / "store"
    (tmp_path / "made" / "train").mkdir(parents=True)
    (tmp_path / "made" / "train" / "last.pt").write_bytes(b"weights")
    made = leave(
        RunStore(open_store(str(store)), claim.store_key(tmp_path / "runs" / "r1")),
        tmp_path / "made",
        done_by={"train": made_by},
    )
    folder = folder_of(tmp_path, [stage for stage in made if stage != "train"])
    for stage in made:
        if stage != "train":
            shutil.copytree(tmp_path / "made" / stage, folder / stage)
    summary = outcome.conclude(folder, 0, str(store))
    assert (folder / "train" / "last.pt").read_bytes() == b"weights"
    assert summary.status == "registered"
    assert [stage.status for stage in summary.stages] == ["done", "cached", *["done"] * 5]


def test_an_attempt_that_did_not_come_far_shows_nothing_of_an_earlier_one(tmp_path: Path) -> None:
    leave(
        RunStore(open_store(str(tmp_path / "store")), claim.store_key(tmp_path / "runs" / "r1")),
        tmp_path / "made",
        done_by={"train": "r0"},
    )
    folder = folder_of(tmp_path, [])
    summary = outcome.conclude(folder, outcome.INTERRUPTED, str(tmp_path / "store"))
    assert (summary.status, summary.data) == ("failed", None)
    assert {stage.status for stage in summary.stages} == {"skipped"}
    assert not (folder / "train").exists()
