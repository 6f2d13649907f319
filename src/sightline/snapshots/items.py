"""One line an image, in files of some thousand lines that are grouped by the hash of the image's name.

So a changed image or label touches one file, and a file's lines are in the order of names: merging the files of a split
gives the whole split in order, in flat memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import json
import math
from collections.abc import Iterable, Iterator
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any

from sightline.datasets.formats.yolo.label_file import label_text
from sightline.datasets.types import Label, Sample
from sightline.documents import Split
from sightline.snapshots.manifest import DamagedSnapshot, ItemsRef, canonical, items_path
from sightline.storage import Store, WrongBytes

LINES = 4096  # about so many in a file
MOST_BITS = 8  # files of a split are open at the same time: at most 256, a fourth of what a process may have by default


class Digest:
    """The digest of a split: sha256 over a JSON line [name, image sha256, sha256 of the label text] for each image."""

    def __init__(self) -> None:
        """Start with no image."""
        self._hash = hashlib.sha256()

    def add(self, sample: Sample) -> None:
        """Add the next image in the order of names."""
        labels = hashlib.sha256(label_text(sample.labels).encode()).hexdigest()
        self._hash.update(f'[{encode_basestring_ascii(sample.name)},"{sample.sha256}","{labels}"]\n'.encode())

    def hexdigest(self) -> str:
        """Return the digest of the images added."""
        return self._hash.hexdigest()


def line_of(sample: Sample, pack: str) -> bytes:
    """Return the line of an image that lies in a pack."""
    values = {
        "split": sample.split,
        "name": sample.name,
        "source": sample.source,
        "width": sample.width,
        "height": sample.height,
        "sha256": sample.sha256,
        "bytes": sample.bytes,
        "pack": pack,
        "boxes": sample.labels,
    }
    return canonical(values) + b"\n"


def sample_of(line: bytes | str, images: str = "") -> Sample:
    """Return the image of a line; `images` is the folder that has it. Raises ValueError, KeyError or TypeError."""
    values: dict[str, Any] = json.loads(line)
    name, labels = values["name"], tuple(_label(*box) for box in values["boxes"])
    if "/" in name or name in ("", ".", ".."):
        raise ValueError(f"{name!r} is no file name")
    return Sample(
        split=values["split"],
        name=name,
        image=f"{images}/{name}",
        source=values["source"],
        sha256=values["sha256"],
        bytes=values["bytes"],
        width=values["width"],
        height=values["height"],
        labels=labels,
        pack=values["pack"],
    )


def _label(label: int, cx: float, cy: float, w: float, h: float) -> Label:
    return label, cx, cy, w, h


def write_items(folder: Path, split: Split, count: int, lines: Iterable[tuple[str, bytes]]) -> list[ItemsRef]:
    """Write the lines of a split, given by name in order, to files `<sha256>.jsonl` in `folder`.

    `count` is how many there will be, within a few.
    """
    bits = min(MOST_BITS, max(0, round(math.log2(max(count, 1) / LINES))))
    with contextlib.ExitStack() as stack:
        paths = [folder / f"{split}-{number}" for number in range(2**bits)]
        files = [stack.enter_context(open(path, "wb")) for path in paths]
        hashes = [hashlib.sha256() for _ in paths]
        counts = [0] * len(paths)
        for name, line in lines:
            group = hashlib.sha256(name.encode()).digest()[0] >> (8 - bits)
            files[group].write(line)
            hashes[group].update(line)
            counts[group] += 1
    refs = []
    for path, sha, lines_in in zip(paths, hashes, counts, strict=True):
        if lines_in:
            ref = ItemsRef(sha256=sha.hexdigest(), size=path.stat().st_size, count=lines_in, split=split)
            path.replace(folder / f"{ref.sha256}.jsonl")
            refs.append(ref)
    return refs


def read_items(folder: Path, refs: Iterable[ItemsRef], split: str, images: str = "") -> Iterator[Sample]:
    """Yield the images of one split in the order of names. Raises DamagedSnapshot for lines that are none."""
    paths = [folder / f"{ref.sha256}.jsonl" for ref in refs if ref.split == split]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(open(path, "rb")) for path in paths]
        streams = [(sample_of(line, images) for line in file) for file in files]
        try:
            yield from heapq.merge(*streams, key=lambda sample: sample.name)
        except (ValueError, KeyError, TypeError) as problem:
            raise _damaged(str(folder), problem) from None


def load_items(store: Store, ref: ItemsRef) -> list[Sample]:
    """Read one file of lines from a store. Raises MissingObject, WrongBytes, DamagedSnapshot."""
    where = f"{store.uri}/{items_path(ref.sha256)}"
    data = store.get_bytes(items_path(ref.sha256))
    if (found := hashlib.sha256(data).hexdigest()) != ref.sha256:
        raise WrongBytes(f"{where} has sha256 {found}. Delete it and validate the source again, which sends it again.")
    try:
        return [sample_of(line) for line in data.splitlines()]
    except (ValueError, KeyError, TypeError) as problem:
        raise _damaged(where, problem) from None


def _damaged(where: str, problem: Exception) -> DamagedSnapshot:
    return DamagedSnapshot(f"{where} holds lines that are no images ({problem}). Validate the source again.")
