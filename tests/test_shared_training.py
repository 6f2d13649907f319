"""A finished training is every run's that wants the same, under that run's own names, and a lowered one is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.config import TrainConfig
from sightline.documents import PinnedWeights
from sightline.run_store import finished_training
from sightline.shared_training import SharedTraining
from sightline.task_frame import Task
from tests.helpers import documents

KEY = "ab" * 32
SNAPSHOT = "s3://data/snapshots/" + "5f" * 32
START = PinnedWeights(uri="s3://models/other.pt", sha256="0e" * 32)
CONFIG = documents.train().config


@pytest.fixture
def in_run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., SharedTraining]:
    def shared(run_id: str, *, config: TrainConfig = CONFIG, fresh: bool = False) -> SharedTraining:
        monkeypatch.setenv("SIGHTLINE_RUN_ID", run_id)
        task = Task("train", first=False)
        return SharedTraining(task, KEY, snapshot=SNAPSHOT, weights=START, config=config, fresh=fresh)

    return shared


def trained(shared: SharedTraining, image_size: int = CONFIG.image_size, stopped_by: str = "epochs") -> None:
    """Leave what a training leaves."""
    folder: Path = shared.task.folder("train")
    config = CONFIG.model_copy(update={"image_size": image_size})
    documents.train().model_copy(update={"config": config, "stopped_by": stopped_by}).write(folder)
    (folder / "best.pt").write_bytes(f"weights of {shared.task.run_id}".encode())


def test_what_one_run_kept_another_has_under_its_own_names(in_run: Callable, capsys: pytest.CaptureFixture) -> None:
    one = in_run("one")
    assert one.finished() is None
    trained(one)
    one.keep()
    two = in_run("two")
    document = two.finished()
    assert document == documents.train().model_copy(update={"snapshot": SNAPSHOT, "weights": START.start})
    assert two.record.documents == {"train.json": document.model_dump(mode="json")}
    assert (two.record.run_id, two.record.files) == ("one", one.record.files)
    assert "The same training was done before, in the run one" in capsys.readouterr().out


def test_a_training_of_smaller_images_than_were_asked_for_is_its_own_runs_alone(in_run: Callable) -> None:
    one = in_run("one")
    trained(one, image_size=CONFIG.image_size - 32)
    one.keep()
    assert one.record.documents["train.json"]["config"]["image_size"] == CONFIG.image_size - 32
    assert set(one.record.files) == {"best.pt"}
    assert finished_training(one.task.store, KEY) is None
    assert in_run("two").finished() is None


def test_a_training_that_was_cut_short_is_its_own_runs_alone(in_run: Callable) -> None:
    one, two = in_run("one"), in_run("two")
    trained(one, stopped_by="max_hours")
    one.keep()
    assert one.record.documents["train.json"]["stopped_by"] == "max_hours"
    assert two.finished() is None
    trained(two, stopped_by="patience")
    two.keep()
    assert in_run("three").finished()


def test_a_fresh_training_takes_only_what_was_finished_after_it_began(in_run: Callable) -> None:
    one = in_run("one")
    trained(one)
    one.keep()
    two, three = in_run("two", fresh=True), in_run("three", fresh=True)
    assert two.finished() is None
    trained(two)
    two.keep()
    assert three.finished()
    assert three.record.run_id == "two"
