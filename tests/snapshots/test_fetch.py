"""Fetching brings what is asked for, once, whole, and shared between snapshots and processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from sightline.errors import StageInputError, StorageError
from sightline.snapshots import SnapshotDataset, fetch, one_class, publish
from sightline.storage import open_store
from tests.helpers.content import MIB
from tests.helpers.memory import MemoryDataset, filled
from tests.helpers.snapshots import images_of, packs_of, written


def test_fetch_brings_the_asked_splits_alone_and_adds_others_later(store, tmp_path):
    published = publish(filled(tmp_path / "in"), store)
    snap = fetch(published.uri, ["val"])
    assert [path.name for path in (snap.root / "images").iterdir()] == ["val"]
    packs = tmp_path / "cache/packs"
    assert len([path for path in packs.iterdir() if path.is_dir()]) == 1
    image = snap.samples("val")[0].image
    assert image.stat().st_nlink == 2, "a hard link to the pack"
    marker = image.stat().st_ino
    both = fetch(published.uri, ["val", "test"])
    assert sorted(path.name for path in (both.root / "images").iterdir()) == ["test", "val"]
    assert both.samples("val")[0].image.stat().st_ino == marker
    assert not list(packs.glob("*.tar*"))
    assert not (both.root / ".unfinished").exists()


def test_a_complete_copy_needs_no_store(store, tmp_path):
    published = publish(filled(tmp_path / "in"), store)
    fetch(published.uri)
    (tmp_path / "store").rename(tmp_path / "gone")
    assert len(fetch(published.uri).samples("train")) == 16


def test_a_file_that_somebody_leaves_beside_images_does_not_stay(store, tmp_path):
    published = publish(filled(tmp_path / "in"), store)
    image = fetch(published.uri).samples("train")[0].image
    decoded = image.with_suffix(".npy")  # the engine by itself would take it for the image
    decoded.write_bytes(b"pixels")
    assert len(fetch(published.uri).samples("train")) == 16
    assert not decoded.exists()
    assert image.exists()


def test_only_new_packs_are_fetched_for_the_next_snapshot(store, tmp_path):
    dataset = filled(tmp_path / "in")
    first = publish(dataset, store)
    fetch(first.uri)
    dataset.put("train", "new.png")
    second = publish(dataset, store)
    store.delete(f"packs/{key}.tar" for key in packs_of(store, first))
    assert images_of(second) == written(dataset)


KILLED = "import sys; from sightline.snapshots import fetch; fetch(sys.argv[1])"


def test_a_killed_fetch_goes_on_with_the_packs_it_has(s3, tmp_path, monkeypatch):
    store = open_store(f"s3://{s3}/in")
    dataset = MemoryDataset(tmp_path / "in")
    for number in range(8):
        dataset.put("train", f"{number}.png", size=4 * MIB)
        published = publish(dataset, store)
    assert len(packs_of(store, published)) == 8
    monkeypatch.setenv("SIGHTLINE_TRANSFERS", "1")
    process = subprocess.Popen([sys.executable, "-c", KILLED, published.uri])
    packs = tmp_path / "cache/packs"
    while not (there := sorted(packs.glob("[0-9a-f]*[0-9a-f]"))):
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    there = [(path, path.stat().st_ino) for path in packs.glob("[0-9a-f]*[0-9a-f]") if path.is_dir()]
    assert 1 <= len(there) < 8
    assert not list((tmp_path / "cache/snapshots").glob("*/images"))
    assert images_of(published) == written(dataset)
    assert [(path, path.stat().st_ino) for path, _ in there] == there
    assert not [path for path in packs.iterdir() if not path.name.endswith(".lock") and len(path.name) != 64]


def test_processes_that_fetch_at_once_share_one_whole_copy(store, tmp_path):
    published = publish(filled(tmp_path / "in"), store)
    code = (
        "import sys; from sightline.snapshots import fetch; s = fetch(sys.argv[1]);"
        "print(sum(x.image.stat().st_size > 0 for k in ('train', 'val', 'test') for x in s.samples(k)))"
    )
    command = [sys.executable, "-c", code, published.uri]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0].strip() for process in running] == ["20", "20", "20"]


def test_shared_images_cannot_be_written_by_accident(store, tmp_path):
    published = publish(filled(tmp_path / "in"), store)
    image = fetch(published.uri).samples("train")[0].image
    assert image.stat().st_mode & 0o222 == 0


def test_what_is_no_snapshot_is_refused(tmp_path):
    for uri in (str(tmp_path), f"{tmp_path}/snapshots/abc", f"{tmp_path}/snapshots/{'../' * 21}x"):
        with pytest.raises(StageInputError, match="expected <store>/snapshots/<digest>"):
            fetch(uri)
    with pytest.raises(StorageError, match=r"manifest\.json"):
        fetch(f"{tmp_path}/store/snapshots/{'0' * 64}")


def test_a_snapshot_is_a_data_set_that_fetches_what_it_is_asked_for(store, tmp_path):
    dataset = filled(tmp_path / "in")
    published = publish(dataset, store)
    again = SnapshotDataset(published.uri)
    root = tmp_path / "cache/snapshots" / published.digest
    assert not (root / "images").exists()
    assert [s.name for s in again.samples("val")] == ["008.png", "018.png"]
    assert [path.name for path in (root / "images").iterdir()] == ["val"]
    assert [(s.split, s.name, s.labels, s.source, s.pack) for s in again.samples()] == [
        (s.split, s.name, s.labels, s.source, s.pack) for s in dataset.samples()
    ]
    assert again.counts() == dataset.counts()
    elsewhere = publish(again, open_store(f"{tmp_path}/elsewhere"))
    assert elsewhere.digest == published.digest


def test_a_fetched_snapshot_is_a_yolo_set_that_gives_the_same_snapshot(shared, validate):
    for name in ("chess-squares", "rbc-wbc-coco"):
        document = validate(shared / "data" / name)
        assert validate(fetch(document.snapshot).root).digest == document.digest


def test_a_view_of_one_class_has_the_same_images_and_boxes(store, tmp_path):
    published = publish(filled(tmp_path / "in"), store)
    whole, view = fetch(published.uri), fetch(published.uri, single_class=True)
    assert (view.classes, view.digest, view.data_yaml) == (["object"], whole.digest, whole.data_yaml)
    assert whole.classes != view.classes
    seen = {index for sample in view.samples("train") for index in sample.classes.tolist()}
    assert seen == {0}
    for one, other in zip(whole.samples("train"), view.samples("train"), strict=True):
        assert (one.source, one.boxes.tolist()) == (other.source, other.boxes.tolist())
    assert one_class(["cell"]) == ["cell"]
