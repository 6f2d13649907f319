"""Snapshots: named by content, each image sent once, fetched whole, never mixed, compared without their images."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from sightline.datasets.types import Dataset, Sample
from sightline.documents import Split
from sightline.errors import DataError, StageInputError, StorageError
from sightline.snapshots import Published, SnapshotDataset, fetch, publish
from sightline.snapshots.diff import diff
from sightline.snapshots.file_names import plain_name
from sightline.snapshots.items import write_items
from sightline.snapshots.manifest import load
from sightline.snapshots.packs import PACK_BYTES, Member, group_bits, pack_key, pack_size, room, write_pack
from sightline.storage import Store, open_store
from tests.helpers.memory import CAT, DOG, MemoryDataset, filled

MIB = 1 << 20


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.server)])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of either kind."""
    return open_store(f"s3://{request.getfixturevalue('s3')}/in" if request.param == "s3" else f"{tmp_path}/store")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"{tmp_path}/store")


def keys(store: Store, prefix: str) -> list[str]:
    return [key for key, _ in store.list(prefix)]


def packs_of(store: Store, published: Published) -> dict[str, int]:
    return {pack.key: pack.images for pack in load(store, published.digest).packs}


def images_of(published: Published) -> dict[str, bytes]:
    """The fetched images by split and name."""
    snap = fetch(published.uri)
    return {
        f"{split}/{sample.image.name}": sample.image.read_bytes()
        for split in ("train", "val", "test")
        for sample in snap.samples(split)
    }


def written(dataset: MemoryDataset) -> dict[str, bytes]:
    return {f"{s.split}/{s.name}": Path(s.image).read_bytes() for s in dataset.samples()}


# --- publish


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
    assert len(fresh.packs) == 101, "the data set is told of its images, and of one more in the same packs"
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


def test_packs_are_a_power_of_two_of_about_64_mb_and_of_some_thousand_images():
    for megabytes, groups in ((1, 1), (64, 1), (100, 2), (256, 4), (300, 4), (1024, 16)):
        assert 2 ** group_bits(10, megabytes * MIB) == groups
        assert megabytes * MIB / groups < 1.6 * PACK_BYTES
    assert 2 ** group_bits(1_000_000, 1) == 128
    assert group_bits(0, 0) == 0


def test_the_size_of_a_pack_is_known_before_it_is_written(tmp_path):
    for sizes in ([1], [512], [513, 0], [3000] * 40, [9216]):
        members = []
        for number, size in enumerate(sizes):
            data = bytes([number]) * size
            path = tmp_path / str(number)
            path.write_bytes(data)
            members.append(Member(hashlib.sha256(data).hexdigest(), ".png", size, str(path), str(number)))
        write_pack(tmp_path / "pack", members)
        assert (tmp_path / "pack").stat().st_size == pack_size(members)
    assert [room(size) for size in (0, 1, 512, 513)] == [512, 1024, 1024, 1536]


class Many(Dataset):
    """Twenty thousand images, none of them in memory or on the disk: a pack has them."""

    classes = ("cat", "dog")  # type: ignore[assignment]
    pack = "ab" * 32

    def samples(self, split: Split | None = None) -> Iterator[Sample]:
        for part, count in (("train", 18_000), ("val", 1000), ("test", 1000)):
            for number in range(count) if split in (None, part) else ():
                name = f"{part}-{number:06}.jpg"
                sha256 = hashlib.sha256(name.encode()).hexdigest()
                yield Sample(part, name, f"/in/{name}", f"in/{name}", sha256, 100_000, 640, 480, (CAT, DOG), self.pack)


def test_memory_stays_flat_however_many_images_there_are(store):
    store.put_bytes(f"packs/{Many.pack}.tar", b"x" * 10240)
    dataset = Many()
    tracemalloc.start()
    published = publish(dataset, store)
    both = publish(dataset, store)
    compared = diff(published.uri, both.uri)
    snap = fetch(published.uri, ())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (compared.images.before, snap.classes) == (20_000, ["cat", "dog"])
    assert published.uploaded_bytes > 5 * MIB
    assert peak < 3 * MIB, "bytes; a list of the samples alone takes 15 MiB"


def test_plain_names_keep_what_every_tool_takes():
    assert plain_name("a b-(1)_+=@,.x") == "a b-(1)_+=@,.x"
    assert plain_name("ünsafe/na\\me:*") == "_nsafe_na_me__"
    assert len(plain_name("x" * 500)) == 160


# --- fetch


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


def altered(data: bytes, how: str) -> bytes:
    if how == "a changed byte":
        return data[:600] + bytes([data[600] ^ 1]) + data[601:]
    return {"cut": data[:1500], "empty": b"", "no tar": b"x" * 10240, "no image": bytes(10240)}[how]


@pytest.mark.parametrize("how", ["a changed byte", "cut", "empty", "no tar", "no image"])
def test_a_damaged_pack_is_refused_by_name_and_publishing_again_restores_it(store, tmp_path, how):
    source = filled(tmp_path / "in")
    published = publish(source, store)
    key = keys(store, "packs/")[0]
    whole = store.get_bytes(key)
    store.put_bytes(key, altered(whole, how))
    with pytest.raises(StorageError) as caught:
        fetch(published.uri)
    assert f"{store.uri}/{key} is damaged" in caught.value.message
    assert "It was deleted there: run again, and validate sends it once more" in caught.value.message
    assert not (tmp_path / "cache/snapshots" / published.digest / "images").exists()
    assert publish(source, store).uploaded_bytes >= len(whole)
    assert len(fetch(published.uri).samples("train")) == 16


@pytest.mark.parametrize("what", ["images/train/*", "labels/train/*", "packs", "items/*", "data.yaml", "manifest.json"])
@pytest.mark.parametrize("how", ["altered", "cut", "gone"])
def test_a_damaged_cache_is_made_again_and_trained_on_by_nobody(store, tmp_path, what, how):
    published = publish(filled(tmp_path / "in"), store)
    root = fetch(published.uri).root
    whole = {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file() and path.suffix}
    place = sorted(tmp_path.glob("cache/packs/*/*") if what == "packs" else root.glob(what))[0]
    content = place.read_bytes()
    place.unlink() if how == "gone" else place.write_bytes(
        content[: len(content) // 2] if how == "cut" else bytes([content[0] ^ 1]) + content[1:]
    )
    again = fetch(published.uri)
    assert len(again.samples("train")) == 16
    if (what, how) != ("packs", "gone"):  # then nothing that is in use is gone
        assert {name: (root / name).read_bytes() for name in whole if "seal" not in name.name} == {
            name: content for name, content in whole.items() if "seal" not in name.name
        }


@pytest.mark.parametrize(
    ("name", "kind"),
    [("../../escaped", tarfile.REGTYPE), ("a" * 64, tarfile.SYMTYPE), ("a" * 64, tarfile.LNKTYPE)],
)
def test_a_hostile_pack_writes_nothing_outside(store, tmp_path, name, kind):
    published = publish(filled(tmp_path / "in"), store)
    with tarfile.open(tmp_path / "hostile.tar", "w") as tar:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, "/etc/passwd"
        tar.addfile(entry)
    store.put_bytes(keys(store, "packs/")[0], (tmp_path / "hostile.tar").read_bytes())
    with pytest.raises(StorageError, match="is damaged"):
        fetch(published.uri)
    assert not list(tmp_path.rglob("*escaped*"))


def test_a_pack_that_claims_to_be_large_takes_no_memory(store, tmp_path):
    published = publish(filled(tmp_path / "in"), store)
    entry = tarfile.TarInfo("a" * 64)
    entry.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % (256 * MIB)  # the size of a file that is nothing but a hole
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    store.put_bytes(keys(store, "packs/")[0], bytes(header) + bytes(9728))
    tracemalloc.start()
    with pytest.raises(StorageError, match=r"is damaged: 'a+' in it is no image"):
        fetch(published.uri)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * MIB


def test_lost_packs_are_all_named(store, tmp_path):
    published = publish(filled(tmp_path / "in"), store)
    gone = keys(store, "packs/")[:2]
    store.delete(gone)
    with pytest.raises(StorageError, match="is not complete") as caught:
        fetch(published.uri)
    assert sorted(caught.value.problems) == gone
    assert not (tmp_path / "cache/snapshots" / published.digest / "images").exists()


def test_items_and_manifests_that_were_altered_are_refused(store, tmp_path):
    published = publish(filled(tmp_path / "in"), store)
    path = tmp_path / "store/snapshots" / published.digest / "manifest.json"
    manifest = json.loads(path.read_text())
    ref = next(ref for ref in manifest["items"] if ref["split"] == "train")
    lines = store.get_bytes(f"items/{ref['sha256']}.jsonl").replace(b'"name":"000.png"', b'"name":"00x.png"', 1)
    ref["sha256"] = hashlib.sha256(lines).hexdigest()
    store.put_bytes(f"items/{ref['sha256']}.jsonl", lines)
    path.write_text(json.dumps(manifest))
    assert len(fetch(published.uri, ["val"]).samples("val")) == 2, "the other splits are as their digests say"
    with pytest.raises(StorageError, match=r"train split of .* does not have the content that its digest names"):
        fetch(published.uri)
    shutil.rmtree(tmp_path / "cache")
    manifest["classes"] = ["dog", "cat"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(StorageError, match=r"manifest\.json does not have the content that its digest names"):
        fetch(published.uri)
    path.write_text("{")
    with pytest.raises(StorageError, match="is damaged or of another version"):
        fetch(published.uri)


def test_names_that_lead_elsewhere_are_refused(store, tmp_path):
    dataset = filled(tmp_path / "in")
    dataset.move("train", "000.png", "train", "../../escaped.png")
    published = publish(dataset, store)
    with pytest.raises(StorageError, match="is no file name"):
        fetch(published.uri)
    assert not list(tmp_path.rglob("*escaped*"))


@pytest.mark.parametrize("damage", ["a file missing", "a file cut", "all missing"])
def test_a_damaged_pack_in_the_cache_is_fetched_again(store, tmp_path, damage):
    dataset = filled(tmp_path / "in")
    published = publish(dataset, store)
    snap = fetch(published.uri)
    shutil.rmtree(snap.root)
    sample = dataset.images["train", "003.png"]
    folder = tmp_path / "cache/packs" / dataset.packs[sample.sha256]
    for path in list(folder.iterdir()) if damage == "all missing" else [folder / sample.sha256]:
        path.unlink()
        if damage == "a file cut":
            path.write_bytes(b"cut")
    assert images_of(published) == written(dataset)


def test_an_image_rewritten_in_place_does_not_damage_what_other_snapshots_share(store, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (20, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg")
    dataset = MemoryDataset(tmp_path / "in")
    dataset.put_bytes("train", "a.jpg", (tmp_path / "a.jpg").read_bytes() + b"trailing")
    dataset.put_bytes("train", "b.jpg", (tmp_path / "a.jpg").read_bytes())
    published = publish(dataset, store)
    image, other = (sample.image for sample in fetch(published.uri).samples("train"))
    assert (image.stat().st_nlink, other.stat().st_nlink) == (1, 2)
    Image.open(image).save(image, "JPEG", quality=100)
    assert not image.read_bytes().endswith(b"trailing")
    shutil.rmtree(tmp_path / "cache/snapshots")
    shutil.rmtree(tmp_path / "store/packs")
    assert images_of(published) == written(dataset)


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


# --- diff


def test_equal_snapshots_have_no_difference(store, tmp_path):
    published = publish(filled(tmp_path / "in"), store)
    document = diff(published.uri, published.uri)
    assert (document.images.before, document.images.after, document.boxes.before) == (20, 20, 20)
    assert sum(document.images.model_dump().values()) == 40
    assert sum(document.boxes.model_dump().values()) == 40
    assert document.examples == {}


def test_every_kind_of_change_is_counted_and_told(either, tmp_path):
    dataset = filled(tmp_path / "in", 40)
    big = (0, 0.5, 0.5, 0.4, 0.4)
    dataset.relabel("train", "010.png", big, DOG)
    before = publish(dataset, either)
    dataset.put("train", "added.png", (CAT, DOG))
    del dataset.images["train", "000.png"]
    dataset.put("train", "001.png", (DOG,), seed="changed")
    dataset.move("val", "008.png", "test")
    dataset.move("train", "002.png", "train", "renamed.png")
    dataset.relabel("train", "003.png", (0, 0.25, 0.25, 0.1, 0.1))
    dataset.relabel("train", "010.png", (0, 0.51, 0.5, 0.4, 0.4), (1, 0.8, 0.8, 0.1, 0.1))
    after = publish(dataset, either)
    shutil.rmtree(tmp_path / "in")
    either.delete(keys(either, "packs/"))
    document = diff(before.uri, after.uri)
    assert document.images.model_dump() == {
        **{"before": 40, "after": 40, "added": 1, "removed": 1, "changed": 1, "moved": 1, "renamed": 1},
        "relabelled": 2,
    }
    assert document.boxes.model_dump() == {
        **{"before": 41, "after": 42, "added": 1, "removed": 1, "moved": 1, "class_changed": 1}
    }
    assert document.examples == {
        "images added": ["train/added.png"],
        "images removed": ["train/000.png"],
        "images changed": ["train/001.png has other bytes"],
        "images moved": ["008.png from val to test"],
        "images renamed": ["train/002.png is renamed.png now"],
        "classes changed": ["train/003.png: dog at (0.25, 0.25; 0.10 x 0.10) is cat now"],
        "boxes moved": [
            "train/010.png: cat at (0.50, 0.50; 0.40 x 0.40) is at (0.51, 0.50; 0.40 x 0.40) now, IoU 0.95"
        ],
        "boxes removed": ["train/010.png: dog at (0.25, 0.25; 0.10 x 0.10)"],
        "boxes added": ["train/010.png: dog at (0.80, 0.80; 0.10 x 0.10)"],
    }
    assert [tuple(row.model_dump().values()) for row in document.by_class] == [
        ("cat", 20, 21, 0, 0, 1, 0, 1),
        ("dog", 21, 21, 1, 1, 0, 1, 0),
    ]


def test_classes_are_compared_by_name_and_their_order_is_no_change_of_boxes(store, tmp_path):
    dataset = filled(tmp_path / "in")
    before = publish(dataset, store)
    dataset.classes = ["dog", "cow", "cat"]
    for (split, name), sample in list(dataset.images.items()):
        dataset.relabel(split, name, *[({0: 2, 1: 0}[c], *box) for c, *box in sample.labels])
    document = diff(before.uri, publish(dataset, store).uri)
    assert (document.classes_added, document.classes_removed) == (["cow"], [])
    assert document.classes_reordered
    assert document.images.relabelled == 0
    assert [row.name for row in document.by_class] == ["dog", "cat"]
    dataset.classes = ["dog", "cow", "lion"]
    renamed = diff(before.uri, publish(dataset, store).uri)
    assert (renamed.boxes.class_changed, renamed.images.relabelled) == (10, 10)
    assert (renamed.classes_added, renamed.classes_removed) == (["cow", "lion"], ["cat"])


def test_equal_images_pair_one_to_one_and_names_that_shift_are_renamed(store, tmp_path):
    dataset = MemoryDataset(tmp_path / "in")
    for number in range(30):
        dataset.put("train", f"{number:02}.png", seed=f"image {number}")
    dataset.put("train", "x.png", seed="image 0")
    before = publish(dataset, store)
    shifted = MemoryDataset(tmp_path / "shifted")
    for number in range(30):
        shifted.put("train", f"{number + 1:02}.png", seed=f"image {number}")
    document = diff(before.uri, publish(shifted, store).uri)
    assert document.images.renamed == 30
    assert (document.images.added, document.images.removed, document.images.changed) == (0, 1, 0)
    assert len(document.examples["images renamed"]) == 20


def test_a_label_only_diff_between_two_stores_reads_only_what_differs(tmp_path):
    first, second = (open_store(f"{tmp_path}/{name}") for name in ("a", "b"))
    dataset = filled(tmp_path / "in")
    before = publish(dataset, first)
    dataset.relabel("val", "008.png")
    after = publish(dataset, second)
    same = set(keys(first, "items/")) & set(keys(second, "items/"))
    assert len(same) == 2
    for store in (first, second):
        store.delete(same)
    document = diff(before.uri, after.uri)
    assert (document.images.relabelled, document.boxes.removed) == (1, 1)
    assert os.environ["SIGHTLINE_CACHE"] == f"{tmp_path}/cache"
    assert not (tmp_path / "cache").exists()
