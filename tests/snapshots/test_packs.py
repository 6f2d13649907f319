"""Packs: their number and size, and memory that does not grow with the images."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Iterator

from sightline.datasets.types import Dataset, Sample
from sightline.documents import Split
from sightline.snapshots import fetch, publish
from sightline.snapshots.diff import diff
from sightline.snapshots.packs import PACK_BYTES, Member, group_bits, pack_size, room, write_pack
from tests.helpers.content import MIB
from tests.helpers.memory import CAT, DOG


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
