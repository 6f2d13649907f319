"""Publishing: named by content, each image sent once, nothing sent twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from sightline.errors import DataError
from sightline.snapshots import fetch, publish
from sightline.snapshots.file_names import plain_name
from sightline.snapshots.items import write_items
from sightline.snapshots.manifest import load
from sightline.snapshots.packs import Member, pack_key
from sightline.storage import open_store
from tests.helpers.memory import CAT, DOG, MemoryDataset, filled
from tests.helpers.snapshots import images_of, keys, packs_of, written


def test_what_is_published_comes_back_byte_for_byte(either, tmp_path):
    dataset = filled(tmp_path / "in")
    dataset.put("train", "empty.jpg", ())
    published = publish(dataset, either, source="here")
    assert published.uri == f"{either.uri}/snapshots/{published.digest}"
    assert published.uploaded_bytes == sum(size for _, size in either.list())
    assert images_of(published) == written(dataset)
    snap = fetch(published.uri)
    assert [s.image.name for s in snap.samples("val")] == ["008.png", "018.png"]
    first = snap.samples("train")[0]
    assert (first.source, first.width, first.height, first.classes.tolist()) == ("train/000.png", 40, 20, [0])
    np.testing.assert_allclose(first.boxes, [[16, 8, 24, 12]])
    assert (snap.root / "labels/train/000.txt").read_text() == "0 0.500000 0.500000 0.200000 0.200000\n"
    assert (snap.root / "labels/train/empty.txt").read_text() == ""
    values = yaml.safe_load(snap.data_yaml.read_text())
    assert values == {
        "path": str(snap.root),
        **{split: f"images/{split}" for split in ("train", "val", "test")},
        "names": {0: "cat", 1: "dog"},
    }
    manifest = load(either, published.digest)
    assert (manifest.source, manifest.classes) == ("here", ["cat", "dog"])
    train = manifest.splits["train"]
    assert (train.images, train.boxes, train.backgrounds, train.boxes_per_class) == (17, 16, 1, [8, 8])
    assert train.bytes == 17 * 2000


def test_the_same_data_twice_is_one_snapshot_and_sends_nothing(either, tmp_path):
    first = publish(filled(tmp_path / "in"), either)
    before = list(either.entries())
    second = publish(filled(tmp_path / "copy"), either)
    assert (second.digest, second.uri, second.uploaded_bytes) == (first.digest, first.uri, 0)
    assert list(either.entries()) == before


def test_the_same_data_makes_the_same_packs_on_another_machine(tmp_path):
    stores = [open_store(f"{tmp_path}/{name}") for name in ("a", "b")]
    for number, store in enumerate(stores):
        publish(filled(tmp_path / f"in{number}"), store)
    for prefix in ("packs/", "items/"):
        contents = [[(key, store.get_bytes(key)) for key in keys(store, prefix)] for store in stores]
        assert contents[0] == contents[1]
        assert len(contents[0]) == 3


def test_one_changed_image_in_a_hundred_sends_about_a_hundredth_of_the_bytes(either, tmp_path):
    dataset = filled(tmp_path / "in", 200, size=20_000)
    whole = publish(dataset, either)
    dataset.put("train", "000.png", (CAT,), size=20_000, seed="other")
    dataset.put("train", "101.png", (CAT,), size=20_000, seed="other")
    part = publish(dataset, either)
    assert whole.uploaded_bytes > 200 * 20_000
    assert 40_000 < part.uploaded_bytes < 0.04 * whole.uploaded_bytes
    assert sorted(packs_of(either, part).values()) == [2, 20, 20, 158]
    assert images_of(part) == written(dataset)


def test_a_machine_that_knows_no_packs_learns_them_from_the_newest_snapshot_of_the_same_classes(either, tmp_path):
    publish(filled(tmp_path / "in", 100), either)
    other = MemoryDataset(tmp_path / "other", ["wheel"])
    other.put("train", "a.png")
    publish(other, either)
    fresh = filled(tmp_path / "fresh", 100)
    fresh.put("train", "000.png", seed="changed")
    before = set(keys(either, "packs/"))
    published = publish(fresh, either)
    (new,) = set(keys(either, "packs/")) - before
    assert either.size(new) == 10240
    assert len(fresh.packs) == 101, "the data set lists its images, and one more in the same packs"
    assert images_of(published) == written(fresh)


def test_changed_labels_names_and_splits_send_no_image(either, tmp_path):
    dataset = filled(tmp_path / "in", size=20_000)
    publish(dataset, either)
    packs = keys(either, "packs/")
    dataset.relabel("train", "000.png", DOG)
    dataset.move("val", "008.png", "test")
    dataset.move("train", "001.png", "train", "renamed.png")
    published = publish(dataset, either)
    assert keys(either, "packs/") == packs
    assert published.uploaded_bytes < 20_000
    assert images_of(published) == written(dataset)


def test_a_changed_label_touches_one_list_of_items(tmp_path):
    dataset = MemoryDataset(tmp_path)
    names = [f"{number:05}" for number in range(16_384)]
    lines = [(name, f"{name}\n".encode()) for name in names]
    before = write_items(tmp_path, "train", len(lines), lines)
    lines[7] = (names[7], b"other\n")
    after = write_items(tmp_path, "train", len(lines), lines)
    assert (len(before), sum(ref.count for ref in before)) == (4, 16_384)
    assert len({ref.sha256 for ref in before} & {ref.sha256 for ref in after}) == 3
    assert dataset.images == {}


def test_equal_images_are_stored_once_even_in_two_splits(store, tmp_path):
    dataset = MemoryDataset(tmp_path / "in")
    for split, name in (("train", "a.png"), ("train", "b.jpg"), ("val", "c.png"), ("test", "d.png")):
        dataset.put(split, name, seed="d.png" if name == "d.png" else "same")
    published = publish(dataset, store)
    assert packs_of(store, published) == {
        pack_key([Member(dataset.images["train", "a.png"].sha256, ".jpg", 2000, "", "")]): 3,
        pack_key([Member(dataset.images["test", "d.png"].sha256, ".png", 2000, "", "")]): 1,
    }
    assert images_of(published) == written(dataset)


def test_a_pack_most_of_which_is_not_needed_is_not_used_again(store, tmp_path):
    dataset = filled(tmp_path / "in", 100)
    first = publish(dataset, store)
    big = max(packs_of(store, first), key=lambda key: packs_of(store, first)[key])
    for number in [n for n in range(80) if n % 10 < 8][:30]:
        del dataset.images["train", f"{number:03}.png"]
    half = publish(dataset, store)
    assert packs_of(store, half)[big] == 50
    for number in [n for n in range(80) if n % 10 < 8][30:50]:
        del dataset.images["train", f"{number:03}.png"]
    less = publish(dataset, store)
    assert big not in packs_of(store, less)
    assert sorted(packs_of(store, less).values()) == [10, 10, 30]
    assert big not in {dataset.packs[s.sha256] for s in dataset.samples("train")}
    assert images_of(less) == written(dataset)


@pytest.mark.parametrize("lose", ["packs", "items", "manifest", "half a pack"])
def test_what_a_store_lost_is_sent_again(either, tmp_path, lose):
    dataset = filled(tmp_path / "in")
    first = publish(dataset, either)
    if lose == "manifest":
        either.put_bytes(f"snapshots/{first.digest}/manifest.json", b"{")
    elif lose == "half a pack":
        either.put_bytes(keys(either, "packs/")[0], b"half")
    else:
        either.delete(keys(either, f"{lose}/")[:2])
    before = either.get_bytes(keys(either, "packs/")[-1])
    second = publish(dataset, either)
    assert second.digest == first.digest
    assert 0 < second.uploaded_bytes < first.uploaded_bytes
    assert either.get_bytes(keys(either, "packs/")[-1]) == before
    assert images_of(second) == written(dataset)


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_an_image_that_changes_while_it_is_stored_ends_it_and_leaves_no_snapshot(store, tmp_path, how):
    dataset = filled(tmp_path / "in")
    path = Path(dataset.images["train", "003.png"].image)
    path.write_bytes(b"other") if how == "changed" else path.unlink()
    with pytest.raises(DataError, match=r"train/003\.png changed while it was being read"):
        publish(dataset, store)
    assert keys(store, "snapshots/") == []
    assert dataset.packs == {}


def test_classes_splits_names_and_labels_are_part_of_the_digest_and_folders_are_not(store, tmp_path):
    def digest(number: int, **change: object) -> str:
        dataset = filled(tmp_path / str(number))
        for what, values in change.items():
            setattr(dataset, what, values) if what == "classes" else getattr(dataset, what)(*values)
        return publish(dataset, store).digest

    plain = digest(0)
    assert digest(1) == plain
    others = [
        digest(2, classes=["cat", "cow"]),
        digest(3, move=("val", "008.png", "train")),
        digest(4, move=("val", "008.png", "val", "name.png")),
        digest(5, relabel=("val", "008.png", (0, 0.5, 0.5, 0.2, 0.200001))),
        digest(6, put=("val", "008.png", (CAT,))),
    ]
    assert plain not in others[:4]
    assert len(set(others[:4])) == 4
    assert others[4] == plain, "putting the same again changes nothing"


def test_plain_names_keep_what_every_tool_takes():
    assert plain_name("a b-(1)_+=@,.x") == "a b-(1)_+=@,.x"
    assert plain_name("ünsafe/na\\me:*") == "_nsafe_na_me__"
    assert len(plain_name("x" * 500)) == 160
