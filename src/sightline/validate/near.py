"""Finds images that look the same: re-encoded, resized, or frames of one scene.

Each image has a grey thumbnail of 16 x 16 bytes. Candidates are pairs that agree in a group of bits, each bit comparing
two places of the thumbnail far from each other, so that encoding noise seldom turns it; several groups make it unlikely
that a pair is missed (locality-sensitive hashing by bit sampling: Indyk and Motwani, 1998). Then thumbnails decide.
Bits take 4 bytes a group in memory, 32 an image.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sightline.validate.index import DISTINCT, Index
from sightline.validate.pictures import THUMB

CELLS = 8  # thumbnails are compared for candidates at 8 x 8, which averages noise away
GROUPS = 8  # of bits; a pair has to agree in one of them
BITS = 30  # in a group; as many of them are used as keep accidental agreement rare
SPARE = 4  # bits of a key beyond what numbers all images: one accidental pair in 16 images and group
DIFFERENT = 0.15  # share of all bits in which two encodings of one picture differ at most
NEIGHBOURS = 12  # pairs looked at in a group beyond the first: a bucket of a thousand equal frames stays linear
FLAT = 6.0  # standard deviation of grey levels below which an image shows nothing to compare
BLOCK = 4096  # thumbnails read at a time
MEAN_LEVELS = 3.0  # most mean difference of grey levels between two thumbnails of the same picture


def candidates(index: Index) -> Iterator[tuple[int, int]]:
    """Yield pairs of item ids, the first by name first, whose images may look the same; a pair may come twice."""
    ids, bits = _bits(index)
    if len(ids) < 2:
        return
    width = int(np.clip(np.ceil(np.log2(len(ids))) + SPARE, 12, BITS))
    for group in range(GROUPS):
        keys = bits[:, group] & np.uint32((1 << width) - 1)
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        for step in range(1, NEIGHBOURS + 1):
            places = np.flatnonzero(ordered[step:] == ordered[:-step])
            first, second = order[places], order[places + step]
            differing = np.bitwise_count(bits[first] ^ bits[second]).sum(axis=1)
            close = differing <= DIFFERENT * GROUPS * BITS
            yield from zip(ids[first[close]].tolist(), ids[second[close]].tolist(), strict=True)


def _bits(index: Index) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Return item ids in the order of names, and for each of them GROUPS words of comparison bits."""
    rng = np.random.default_rng(20)  # which places are compared is arbitrary, and must be the same every time
    first = rng.integers(0, CELLS * CELLS, (GROUPS, BITS))
    second = rng.integers(0, CELLS * CELLS, (GROUPS, BITS))
    weights = np.uint32(1) << np.arange(BITS, dtype=np.uint32)
    rows = index.rows(f"SELECT id, thumb FROM item WHERE thumb IS NOT NULL AND {DISTINCT} ORDER BY source, id")
    ids: list[NDArray[np.int64]] = []
    words: list[NDArray[np.uint32]] = []
    while block := rows.fetchmany(BLOCK):
        thumbs = np.frombuffer(b"".join(row[1] for row in block), np.uint8).reshape(-1, THUMB, THUMB).astype(np.float32)
        shown = thumbs.std(axis=(1, 2)) >= FLAT
        step = THUMB // CELLS
        cells = thumbs.reshape(-1, CELLS, step, CELLS, step).mean(axis=(2, 4)).reshape(-1, CELLS * CELLS)[shown]
        set_ = (cells[:, first] > cells[:, second]).astype(np.uint32)
        words.append((set_ * weights).sum(axis=2, dtype=np.uint32))
        ids.append(np.array([row[0] for row in block], np.int64)[shown])
    if not ids:
        return np.empty(0, np.int64), np.empty((0, GROUPS), np.uint32)
    return np.concatenate(ids), np.concatenate(words)


def alike(a: bytes, b: bytes, levels: float) -> bool:
    """Tell whether two thumbnails show the same picture: no place differs by more than `levels`, few by much."""
    difference = np.abs(np.frombuffer(a, np.uint8).astype(np.int16) - np.frombuffer(b, np.uint8))
    return bool(difference.max() <= levels and difference.mean() <= MEAN_LEVELS)
