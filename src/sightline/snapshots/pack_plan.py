"""Which pack each image of a snapshot is to lie in: worked out in a temporary database, so that memory stays flat."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from sightline.datasets.types import Dataset, Sample
from sightline.documents import SPLITS
from sightline.snapshots.packs import RECORD, Member, group_bits, group_of, room

Group = tuple[int, int]  # number of a split, and leading bits of sha256
SCHEMA = """
PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA temp_store=FILE; PRAGMA cache_size=-32768;
CREATE TABLE known (sha256 TEXT PRIMARY KEY, pack TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE new (split INTEGER, sha256 TEXT, suffix TEXT, bytes INTEGER, image BLOB, source TEXT);
CREATE TABLE packed (
    sha256 TEXT PRIMARY KEY, split INTEGER, suffix TEXT, bytes INTEGER, image BLOB, source TEXT) WITHOUT ROWID;
"""


class NewPack(NamedTuple):
    """Images that are to be packed together, in order."""

    group: Group
    members: list[Member]


class Packed(NamedTuple):
    """An image that is to be packed; `image` is its path, `split` the number of its first split."""

    split: int
    sha256: str
    suffix: str
    size: int
    image: bytes
    source: str


class PackPlan:
    """`packs` are those of the store that may be used again, with their sizes in bytes.

    Steps: `learn` where images lie, `sort` images into used and new, take the `new_packs`, tell where each is `stored`;
    then `home` says the pack of any image.
    """

    def __init__(self, packs: dict[str, int]) -> None:
        """Open a database that is removed when it is closed."""
        self.packs = packs
        self.count = 0
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(SCHEMA)
        self._bits: dict[int, int] = {}
        self._keys: dict[Group, str] = {}

    def close(self) -> None:
        """Forget everything."""
        self._db.close()

    def learn(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Take note of images, by their sha256, that lie in packs of the store."""
        self._db.executemany("INSERT OR IGNORE INTO known VALUES (?, ?)", pairs)

    def sort(self, dataset: Dataset) -> None:
        """Find out which images are to be packed: those in no pack, and those in packs that are mostly of no use now.

        A pack of which this snapshot needs less than half would be fetched, and kept in the store, for little.
        """
        live: Counter[str] = Counter()
        self._db.execute("BEGIN")
        for sample in dataset.samples():
            if pack := self._used(sample):
                live[pack] += room(sample.bytes)
            else:
                self._add(sample)
        sparse = {pack for pack, size in live.items() if 2 * size < self.packs[pack] - RECORD}
        if sparse:
            for sample in dataset.samples():
                if self._used(sample) in sparse:
                    self._add(sample)
        self.packs = {pack: size for pack, size in self.packs.items() if pack in live and pack not in sparse}
        self._group()
        self._db.execute("COMMIT")

    def _used(self, sample: Sample) -> str | None:
        """Return the pack of the store that has an image."""
        if sample.pack in self.packs:
            return sample.pack
        found = self._db.execute("SELECT pack FROM known WHERE sha256 = ?", (sample.sha256,))
        return next((pack for (pack,) in found if pack in self.packs), None)

    def _add(self, sample: Sample) -> None:
        suffix = sample.name[sample.name.rfind(".") :].lower()
        image = sample.image.encode("utf-8", "surrogateescape")
        row = (SPLITS.index(sample.split), sample.sha256, suffix, sample.bytes, image, sample.source)
        self._db.execute("INSERT INTO new VALUES (?, ?, ?, ?, ?, ?)", row)

    def _group(self) -> None:
        """Keep equal images once, with their first split, and group them so that a pack is of one split.

        Then whoever needs one split alone fetches little else.
        """
        self._db.execute(
            "INSERT INTO packed SELECT sha256, MIN(split), MIN(suffix), bytes, image, source FROM new "
            "GROUP BY sha256 ORDER BY sha256"
        )
        sums = "SELECT split, COUNT(*), SUM(bytes + 1024) FROM packed GROUP BY split"  # with a tar header, padded
        for split, images, size in self._db.execute(sums):
            self._bits[split] = group_bits(images, size)
            self.count += images

    def new_packs(self) -> Iterator[NewPack]:
        """Yield what is to be packed, one pack at a time."""
        query = "SELECT split, sha256, suffix, bytes, image, source FROM packed ORDER BY split, sha256"
        images = map(Packed._make, self._db.execute(query))
        for group, members in groupby(images, key=lambda one: (one.split, group_of(one.sha256, self._bits[one.split]))):
            yield NewPack(
                group,
                [
                    Member(one.sha256, one.suffix, one.size, one.image.decode("utf-8", "surrogateescape"), one.source)
                    for one in members
                ],
            )

    def stored(self, group: Group, key: str, size: int) -> None:
        """Take note of the key under which a group is in the store now."""
        self._keys[group] = key
        self.packs[key] = size

    def home(self, sample: Sample) -> str:
        """Return the pack of an image of the data set."""
        found = self._db.execute("SELECT split FROM packed WHERE sha256 = ?", (sample.sha256,)).fetchone()
        if found:
            (split,) = found
            return self._key(split, sample.sha256)
        pack = self._used(sample)
        assert pack  # every image is either used or new
        return pack

    def _key(self, split: int, sha256: str) -> str:
        return self._keys[split, group_of(sha256, self._bits[split])]

    def homes(self) -> Iterator[tuple[str, str]]:
        """Yield the sha256 and the pack of every image whose pack the data set may not know."""
        for sha256, split in self._db.execute("SELECT sha256, split FROM packed"):
            yield sha256, self._key(split, sha256)
        for sha256, pack in self._db.execute("SELECT sha256, pack FROM known"):
            if pack in self.packs:
                yield sha256, pack
