"""Damage, in the store or in the cache, is found, named and made good, and never trained on."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from sightline.errors import StorageError
from sightline.snapshots import fetch, publish
from tests.helpers.content import MIB
from tests.helpers.memory import MemoryDataset, filled
from tests.helpers.snapshots import images_of, keys, written


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
def test_a_damaged_cache_is_made_again_and_never_trained_on(store, tmp_path, what, how):
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
