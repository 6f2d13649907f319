"""The folder that TensorBoard reads: runs of this machine by links, a run on a cluster out of the store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.errors import StageInputError
from sightline.run_store import RunStore, pack
from sightline.storage import Store, open_store
from sightline.train.event_file import EventFile
from sightline.train.event_mirror import LocalRuns, StoredRun
from tests.helpers import documents
from tests.helpers.epochs import MEASURED
from tests.helpers.event_files import points

KEY, RUN = "5e" * 32, "2a4d9a05"


def train(folder: Path, epochs: int, attempt: int = 1) -> Path:
    """Write the event file of an attempt after so many epochs, as train does; returns it."""
    made = EventFile(folder / "tensorboard", f"attempt-{attempt}")
    rows = [{"epoch": float(epoch), "time": 1.0, "loss": 10.0 * attempt + epoch} for epoch in range(1, epochs + 1)]
    made.begin(rows, [MEASURED] * epochs)
    return made.path


@pytest.fixture
def view(tmp_path: Path) -> Path:
    folder = tmp_path / "view" / "runs"
    folder.mkdir(parents=True)
    return folder


def losses(folder: Path) -> list[tuple[int, float]]:
    return points(folder)["loss"]


def test_runs_of_this_machine_are_there_under_their_ids_and_follow_their_attempts(tmp_path: Path, view: Path) -> None:
    runs = tmp_path / "runs"
    (runs / "store").mkdir(parents=True)
    source = LocalRuns(runs)
    assert source.refresh(view) == 0
    train(runs / "one" / "train", 3)
    assert source.refresh(view) == 1
    assert losses(view / "one") == [(1, 11.0), (2, 12.0), (3, 13.0)]
    train(runs / "one" / "train", 2, attempt=2)
    train(runs / "two" / "train", 1)
    assert source.refresh(view) == 2
    assert losses(view / "one") == [(1, 21.0), (2, 22.0)]
    assert sorted(path.name for path in view.iterdir()) == ["one", "two"]


def test_one_run_is_shown_alone_and_one_that_trained_without_curves_is_refused(tmp_path: Path, view: Path) -> None:
    train(tmp_path / "one" / "train", 1)
    (tmp_path / "two").mkdir()
    assert LocalRuns(tmp_path, "two").refresh(view) == 0, "it has not begun"
    documents.train().write(tmp_path / "two" / "train")
    with pytest.raises(StageInputError, match=r"two has trained and has no curves .* train\.tensorboard=false"):
        LocalRuns(tmp_path, "two")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"{tmp_path}/store")


@pytest.fixture
def push(store: Store) -> Callable[[int, Path], None]:
    """Leaves an event file in the store as train does with each checkpoint, under a lease."""

    def push(number: int, path: Path) -> None:
        lease = {"token": "t", "run": RUN}
        store.put_bytes(f"checkpoints/{KEY}/lease-{number:06}.json", json.dumps(lease).encode())
        store.put_bytes(f"checkpoints/{KEY}/{number:06}/{path.name}", path.read_bytes())

    return push


def test_a_run_on_a_cluster_is_followed_through_attempts_to_its_end(
    store: Store, push: Callable[[int, Path], None], tmp_path: Path, view: Path
) -> None:
    source, work = StoredRun(RunStore(store, RUN)), tmp_path / "work"
    assert source.refresh(view) == 0
    first = train(work, 1)
    push(1, first)
    assert source.refresh(view) == 1
    first.write_bytes(train(work, 2).read_bytes()[:-3])  # read while it was written
    push(1, first)
    source.refresh(view)
    push(2, train(work, 2, attempt=2))
    source.refresh(view)
    assert losses(view / RUN) == [(1, 21.0), (2, 22.0)]
    # At the end what was pushed is gone, and the file is among those of the stage.
    last = train(tmp_path / "train", 3, attempt=2)
    documents.train().write(tmp_path / "train")
    RunStore(store, RUN).leave([pack("train", tmp_path / "train", store, RUN)])
    store.delete([entry.key for entry in store.entries("checkpoints/")])
    for _ in range(2):
        assert source.refresh(view) == 1
        assert losses(view / RUN) == [(1, 21.0), (2, 22.0), (3, 23.0)]
    assert [path.name for path in (view / RUN).iterdir()] == [last.name]


def test_what_is_shown_grows_in_its_place(
    store: Store, push: Callable[[int, Path], None], tmp_path: Path, view: Path
) -> None:
    """TensorBoard has the file open, and reads on where it was."""
    source = StoredRun(RunStore(store, RUN))
    whole = train(tmp_path / "work", 2)
    data = whole.read_bytes()
    whole.write_bytes(data[:-30])
    push(1, whole)
    source.refresh(view)
    with (view / RUN / whole.name).open("rb") as reader:
        before = reader.read()
        whole.write_bytes(data)
        push(1, whole)
        source.refresh(view)
        assert before + reader.read() == data


def test_a_finished_run_in_the_store_without_curves_is_refused(store: Store, tmp_path: Path, view: Path) -> None:
    documents.train().write(tmp_path / "train")
    RunStore(store, RUN).leave([pack("train", tmp_path / "train", store, RUN)])
    with pytest.raises(StageInputError, match=f"the run {RUN} has trained and has no curves"):
        StoredRun(RunStore(store, RUN)).refresh(view)
