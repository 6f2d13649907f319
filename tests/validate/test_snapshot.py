"""Snapshots: named by content, sent once, fetched whole, never mixed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sightline.artifacts import ValidateDocument, read
from sightline.errors import StageInputError, StorageError
from sightline.storage import sha256_file
from sightline.validate.dataset import Sample
from sightline.validate.snapshot import SHARD_BYTES, fetch, shard_groups


def shards(tmp_path: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in (tmp_path / "store/shards").iterdir()}


def test_the_same_data_twice_is_one_snapshot_and_sends_nothing(sets, validate, tmp_path):
    first = validate(sets.yolo())
    assert first.uploaded_bytes > 0
    assert first.snapshot == f"file://{tmp_path}/store/snapshots/{first.digest}"
    stored = shards(tmp_path)
    assert all(name == f"{sha}.tar" for name, sha in stored.items())
    second = validate(sets.yolo("copy"))
    assert (second.digest, second.uploaded_bytes) == (first.digest, 0)
    shutil.rmtree(tmp_path / "store")
    assert validate(sets.root / "copy").uploaded_bytes == first.uploaded_bytes
    assert shards(tmp_path) == stored
    assert read(ValidateDocument, tmp_path / "out").digest == first.digest


def test_one_changed_label_is_another_snapshot_that_shares_the_other_shards(sets, validate, tmp_path):
    root = sets.yolo()
    first = validate(root)
    before = shards(tmp_path)
    (root / "labels/train/3.txt").write_text("1 0.5 0.45 0.5 0.4\n")
    second = validate(root)
    assert second.digest != first.digest
    assert len(shards(tmp_path)) == len(before) + 1
    assert 0 < second.uploaded_bytes < first.uploaded_bytes


def test_names_order_the_images_so_they_are_part_of_the_digest_and_folders_are_not(sets, validate, tmp_path):
    plain = validate(sets.yolo()).digest
    elsewhere = tmp_path / "deeper" / "down"
    elsewhere.parent.mkdir()
    sets.yolo("again").rename(elsewhere)
    assert validate(elsewhere).digest == plain


def test_snapshot_that_lost_shards_or_manifest_is_published_again(sets, validate, tmp_path):
    root = sets.yolo()
    first = validate(root)
    for shard in (tmp_path / "store" / "shards").iterdir():
        shard.unlink()
    second = validate(root)
    assert second.digest == first.digest
    assert second.uploaded_bytes > 0
    manifest = tmp_path / "store" / "snapshots" / first.digest / "manifest.json"
    manifest.write_text("{")
    assert validate(root).uploaded_bytes > 0
    assert len(fetch(first.snapshot).samples("train")) > 0


def test_images_keep_their_names_where_these_are_plain_and_unique(sets, validate):
    root = sets.yolo()
    for kind, suffix in (("images", "png"), ("labels", "txt")):
        (root / f"{kind}/val/6.{suffix}").rename(root / f"{kind}/val/ünsafe name.{suffix}")
    sample, *_ = [s for s in fetch(validate(root).snapshot).samples("val") if "nsafe" in s.source]
    assert re.fullmatch(r"_nsafe name-[0-9a-f]{8}\.png", sample.image.name)
    assert sample.source == "images/val/ünsafe name.png"
    assert {s.image.name for s in fetch(validate(root).snapshot).samples("train")} >= {"0.png", "1.png"}


def test_class_names_splits_and_file_names_are_part_of_the_digest(sets, validate):
    plain = validate(sets.yolo()).digest
    assert validate(sets.yolo("names", names=["cat", "cow"])).digest != plain
    moved = sets.yolo("moved")
    for kind, suffix in (("images", "png"), ("labels", "txt")):
        (moved / f"{kind}/val/6.{suffix}").rename(moved / f"{kind}/train/6.{suffix}")
    assert validate(moved).digest != plain
    renamed = sets.yolo("renamed")
    for kind, suffix in (("images", "png"), ("labels", "txt")):
        (renamed / f"{kind}/val/6.{suffix}").rename(renamed / f"{kind}/val/other name.{suffix}")
    assert validate(renamed).digest != plain


def test_a_fetched_snapshot_is_a_yolo_set_that_gives_the_same_snapshot(shared, validate):
    for name in ("chess-squares", "rbc-wbc-coco"):
        document = validate(shared / "data" / name)
        snap = fetch(document.snapshot)
        values = yaml.safe_load(snap.data_yaml.read_text())
        assert Path(values["path"]) == snap.root
        assert values["names"] == dict(enumerate(document.classes))
        assert (snap.root / values["train"]).is_dir()
        assert validate(snap.root).digest == document.digest


def test_fetch_brings_the_asked_splits_and_adds_others_later(sets, validate):
    document = validate(sets.yolo())
    snap = fetch(document.snapshot, ["val"])
    assert [path.name for path in (snap.root / "images").iterdir()] == ["val"]
    assert len(snap.samples("val")) == 2
    marker = snap.samples("val")[0].image.stat().st_mtime_ns
    both = fetch(document.snapshot, ["val", "test"])
    assert sorted(path.name for path in (both.root / "images").iterdir()) == ["test", "val"]
    assert both.samples("val")[0].image.stat().st_mtime_ns == marker
    assert not list((both.root / "shards").iterdir())
    assert not (both.root / ".unpacked").exists()


def test_a_complete_copy_needs_no_store(sets, validate, tmp_path):
    document = validate(sets.yolo())
    fetch(document.snapshot)
    (tmp_path / "store").rename(tmp_path / "gone")
    assert len(fetch(document.snapshot).samples("train")) == 6


def test_damaged_shards_and_manifests_are_refused_and_leave_no_split(sets, validate, tmp_path):
    document = validate(sets.yolo())
    manifest = tmp_path / "store/snapshots" / document.digest / "manifest.json"
    values = json.loads(manifest.read_text())
    shard = tmp_path / "store" / next(s["key"] for s in values["shards"] if s["split"] == "train")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + b"!")
    with pytest.raises(StorageError, match="expected"):
        fetch(document.snapshot)
    assert not (tmp_path / "cache/snapshots" / document.digest / "images/train").exists()
    shard.write_bytes(whole)
    assert len(fetch(document.snapshot).samples("train")) == 6

    shutil.rmtree(tmp_path / "cache")
    values["items"][0]["boxes"][0][1] = 0.25
    manifest.write_text(json.dumps(values))
    with pytest.raises(StorageError, match="content that its digest names"):
        fetch(document.snapshot)
    manifest.write_text("{")
    with pytest.raises(StorageError, match="is damaged"):
        fetch(document.snapshot)


def test_what_is_no_snapshot_is_refused(tmp_path):
    with pytest.raises(StageInputError, match="expected <store>/snapshots/<digest>"):
        fetch(str(tmp_path))
    with pytest.raises(StorageError, match=r"manifest\.json"):
        fetch(f"{tmp_path}/store/snapshots/{'0' * 64}")


def test_processes_that_fetch_at_once_share_one_whole_copy(sets, validate, tmp_path):
    document = validate(sets.yolo())
    code = (
        "import sys; from sightline.validate.snapshot import fetch; s = fetch(sys.argv[1]);"
        "print(sum(x.image.stat().st_size > 0 for k in ('train', 'val', 'test') for x in s.samples(k)))"
    )
    command = [sys.executable, "-c", code, document.snapshot]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0].strip() for process in running] == ["10", "10", "10"]


def test_shards_are_a_power_of_two_of_about_64_mb_and_growth_keeps_an_image_in_its_group():
    def sample(n: int) -> tuple[str, Sample]:
        sha256 = f"{n * 2654435761 % 2**32:08x}" + "0" * 56
        return f"{n}.jpg", Sample("train", Path(f"{n}.jpg"), "", sha256, 2**20, 1, 1, ())

    for megabytes, groups in ((1, 1), (64, 1), (100, 2), (256, 4), (300, 4), (1024, 16)):
        found = shard_groups([sample(n) for n in range(megabytes)], "train")
        assert len(found) == groups
        assert max(sum(s.bytes for _, s in group) for group in found) < 1.6 * SHARD_BYTES
