"""The store remembers which run of a model came to its verdict last, whatever order their conclusions come in."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sightline.retrain import judged, remember
from sightline.storage import Store, open_store
from sightline.summary import summarise
from tests.helpers import documents
from tests.helpers.judged import MODEL, ended, validated

FIRST, SECOND, THIRD = (f"2026-11-2{day}T08:00:00.000+00:00" for day in (1, 2, 3))


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.server)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(f"s3://{request.getfixturevalue('s3')}/in" if request.param == "s3" else f"{tmp_path}/store")


def newest(store: Store, model: str = MODEL) -> str | None:
    found = judged.newest(store, model)
    return found and found.run_id


def test_the_run_that_ended_last_is_the_newest_also_if_an_older_one_is_concluded_again(store: Store) -> None:
    assert newest(store) is None
    remember(validated(), ended("b", "rejected", SECOND, name="night"), store)
    remember(validated(), ended("a", at=FIRST), store)
    found = judged.newest(store, MODEL)
    assert found
    assert (found.run_id, found.name, found.status, found.version) == ("b", "night", "rejected", None)
    remember(validated(), ended("a", at=THIRD), store)
    assert newest(store) == "b"
    remember(validated(), ended("b", "registered", THIRD), store)
    found = judged.newest(store, MODEL)
    assert found
    assert (found.run_id, found.status, found.version) == ("b", "registered", "3")
    assert len(list(store.list())) == 2
    later = validated().model_copy(update={"started_at": THIRD})
    remember(later, ended("a", at=THIRD), store)  # another run by the same name
    assert newest(store) == "a"


def test_of_runs_that_end_at_once_the_newest_remains_and_old_ones_go(store: Store) -> None:
    runs = [ended(f"run {number}", at=f"2026-11-21T08:{number:02}:00.000+00:00") for number in range(30)]
    random.Random(1).shuffle(runs)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda summary: remember(validated(), summary, store), runs))
    assert newest(store) == "run 29"
    assert judged.KEPT <= len(list(store.list())) < 30


def test_only_verdicts_on_a_model_are_remembered_each_under_its_name(tmp_path: Path) -> None:
    store = open_store(f"{tmp_path}/store")
    for status in ("failed", "unchanged", None):
        remember(validated(), ended("x", status), store)
    remember(validated(), ended("x", "rejected", rejected_by="data"), store)
    documents.train().model_copy(update={"stopped_by": "max_hours"}).write(tmp_path / "train")
    short = summarise(run_id="x", folders={"train": tmp_path / "train"}).train
    assert short
    assert short.cut_short
    remember(validated(), ended("x", train=short), store)  # it stands for no other training
    assert list(store.list()) == []
    for model in ("Smear", "smear", "a.b", "n" * 256):
        remember(validated(settings={"register.model_name": model}), ended(f"run of {model}"), store)
        assert newest(store, model) == f"run of {model}"


def test_a_store_that_cannot_be_written_does_not_end_the_conclusion(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "store").write_text("no folder")
    remember(validated(), ended("a"), open_store(f"{tmp_path}/store"))
    assert "the verdict could not be noted in the store, so the next run trains: " in capsys.readouterr().err
