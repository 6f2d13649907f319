"""What counts as drift between two published snapshots, and what does not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from sightline.config import RetrainConfig
from sightline.datasets.split_comparison import LEAST
from sightline.datasets.types import Label
from sightline.documents import SPLITS
from sightline.retrain.drift import Drift, measure
from sightline.snapshots import publish
from sightline.snapshots.manifest import load
from sightline.storage import Store, open_store
from tests.helpers.memory import MemoryDataset

MOST = RetrainConfig().max_drift


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"{tmp_path}/store")


def boxes(seed: str, scale: float = 1.0) -> list[Label]:
    """Boxes of one source: one to four of two classes, anywhere, of a tenth to a fifth of the image."""
    place = random.Random(seed)
    found = []
    for _ in range(place.randint(1, 4)):
        side = round(scale * place.uniform(0.1, 0.2), 6)
        cx, cy = (round(place.uniform(0.3, 0.7), 6) for _ in range(2))
        found.append((int(place.random() < 0.3), cx, cy, side, side))
    return found


def smears(folder: Path, count: int = 100, name: str = "a", **options: float) -> MemoryDataset:
    """Images of one source, six in ten for training."""
    dataset = MemoryDataset(folder)
    more(dataset, count, name, **options)
    return dataset


def more(dataset: MemoryDataset, count: int, name: str, **options: float) -> None:
    for number in range(count):
        split = SPLITS[max(0, number % 10 - 7)]
        dataset.put(split, f"{name}{number:03}.png", boxes(f"{name}{number}", **options), size=100)


def drift(store: Store, before: MemoryDataset, after: MemoryDataset) -> Drift:
    return measure(store, *(load(store, publish(each, store).digest) for each in (before, after)))


def test_the_default_is_what_the_data_report_calls_a_difference() -> None:
    assert MOST == LEAST


def test_the_same_images_under_other_names_and_a_new_order_of_classes_are_no_drift(
    store: Store, tmp_path: Path
) -> None:
    before, after = smears(tmp_path / "one"), smears(tmp_path / "other")
    for split, name in list(after.images):
        after.move(split, name, split, f"{100 - int(name[1:4]):03}-renamed.png")
    renamed = drift(store, before, after)
    assert {each.distance for each in renamed.distances} == {0}
    assert renamed.reasons(0) == []

    after.classes = ["dog", "cat"]
    for (split, name), sample in after.images.items():
        after.relabel(split, name, *((1 - label[0], *label[1:]) for label in sample.labels))
    reordered = drift(store, before, after)
    assert {each.what for each in reordered.distances} >= {"classes", "box sizes", "positions", "boxes per image"}
    assert reordered.reasons(0) == []


def test_more_images_of_the_same_source_are_no_drift_and_as_many_of_another_are(store: Store, tmp_path: Path) -> None:
    before, same, other = (smears(tmp_path / name) for name in ("before", "same", "other"))
    more(same, 20, "b")
    more(other, 40, "c", scale=2.5)
    grown = drift(store, before, same)
    assert grown.reasons(MOST) == []
    assert 0 < max(each.distance for each in grown.distances) < MOST
    assert grown.within(MOST).endswith("(retrain.max_drift is 0.1)")
    reasons = drift(store, before, other).reasons(MOST)
    assert reasons[0].startswith("box sizes in ")
    assert any(reason.startswith("box sizes in train 0.2") for reason in reasons)
    assert drift(store, before, other).reasons(0.5) == []


def test_chance_among_few_images_is_no_drift_but_the_same_distance_by_new_labels_is(
    store: Store, tmp_path: Path
) -> None:
    before, replaced = smears(tmp_path / "before", 30), smears(tmp_path / "after", 30, "b")
    by_chance = drift(store, before, replaced)
    assert max(each.distance for each in by_chance.distances) > MOST
    assert by_chance.reasons(MOST) == []
    assert "which chance explains (retrain.max_drift is 0.1)" in by_chance.within(MOST)

    relabelled = smears(tmp_path / "relabelled", 30)
    for split, name in list(relabelled.images)[::5]:
        relabelled.relabel(split, name, *boxes(name, 2.5))
    assert drift(store, before, relabelled).reasons(MOST)


def test_other_classes_and_a_split_that_has_come_or_gone_are_drift(store: Store, tmp_path: Path) -> None:
    before, after = smears(tmp_path / "one"), smears(tmp_path / "other")
    before.classes, after.classes = ["cat", "dog", "owl", "emu"], ["cat", "dog", "owl", "fox"]
    reasons = ["class 'fox' is new", "class 'emu' is gone"]
    assert drift(store, before, after).reasons(1) == reasons
    after.classes = before.classes
    after.put("train", "owl.png", [(2, 0.5, 0.5, 0.1, 0.1)])
    assert drift(store, before, after).reasons(1) == ["train has boxes of class 'owl' now"]
    for split, name in [key for key in before.images if key[0] == "test"]:
        del before.images[split, name]
    assert "test has images now" in drift(store, before, after).reasons(1)
