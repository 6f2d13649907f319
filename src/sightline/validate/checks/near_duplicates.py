"""Finds images that may look the same among very many, whatever they are called and however plain they are.

Each image has a grey thumbnail. Thumbnails of a fixed camera agree in all but a few places, and those of plain ground
in all but a little grain, so what the images of a set have in common is taken out first: thumbnails are whitened by the
set's own covariance, down to the noise of encoding. The signs of random projections of that (Charikar, "Similarity
estimation techniques from rounding algorithms", 2002) make 256 bits an image, of which copies share nine in ten or more
and different images half. Neighbours are found as in that paper: bits are sorted as numbers in many random orders of
the bits, and what lies close by in one of them is compared bit by bit. Time grows as n log n; memory by 300
bytes an image. Of a small set, whose covariance would say little, all thumbnails are compared with each other.
How many copies are found, against a comparison of all pairs, is measured by `make bench ARGS="--only leaks"`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.image_files.images import THUMB
from sightline.validate.index import Index

CELLS = THUMB * THUMB
NOISE = 0.4  # grey levels by which encoding changes a place of a thumbnail: what varies less tells nothing
BITS = 256
WORDS = BITS // 64
ORDERS = 32  # of the bits, in each of which a copy may be the neighbour
REACH = 8  # places looked at before and behind an image in each order
DIFFERENT = 0.33  # share of the bits in which copies differ at most; different images differ in half
SMALL = 4096  # images up to which all are compared with each other
NEIGHBOURS = 8  # images that are the most alike to one, and are compared closely
MEAN_LEVELS = 3.0  # most mean difference of grey levels between two thumbnails of the same picture
BLOCK = 2048  # images in memory at a time, as floating point

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Places = NDArray[np.int32]  # of which there are 2 * ORDERS for an image


class Codes(NamedTuple):
    """Images as ids, and as BITS bits each in WORDS words. Rows are in an order that names have no part in.

    Of a small set there are (n, CELLS) thumbnails in place of the bits.
    """

    ids: Ints
    bits: NDArray[np.uint64]
    thumbs: Floats | None = None

    def of(self, chosen: NDArray[np.bool_]) -> Codes:
        """Return those that are chosen by a mask."""
        if self.thumbs is not None:
            return Codes(self.ids[chosen], self.bits, self.thumbs[chosen])
        return Codes(self.ids[chosen], self.bits[chosen])


def codes(index: Index) -> Codes:
    """Return the codes of all images that have a thumbnail, but copies in bytes within a split."""
    count, total, products = 0, np.zeros(CELLS), np.zeros((CELLS, CELLS))
    for _, thumbs in _thumbs(index):
        count += len(thumbs)
        total += thumbs.sum(axis=0, dtype=np.float64)
        products += (thumbs.T @ thumbs).astype(np.float64)
    if count <= SMALL:
        read = [(np.empty(0, np.int64), np.empty((0, CELLS), np.float32)), *_thumbs(index)]
        all_ids, all_thumbs = (np.concatenate(part) for part in zip(*read, strict=True))
        return Codes(all_ids, np.empty((0, WORDS), np.uint64), all_thumbs)
    mean = total / count
    values, vectors = np.linalg.eigh(products / count - np.outer(mean, mean))
    rng = np.random.default_rng(20)  # which projections is arbitrary, and must be the same every time
    whitened = vectors / np.sqrt(np.maximum(values, 0) + NOISE**2)
    project = (whitened @ np.linalg.qr(rng.normal(size=(CELLS, BITS)))[0]).astype(np.float32)
    ids, bits = [], []
    for some, thumbs in _thumbs(index):
        ids.append(some)
        signs = (thumbs - mean.astype(np.float32)) @ project > 0
        bits.append(np.packbits(signs, axis=1).view(np.uint64))
    return Codes(np.concatenate(ids), np.concatenate(bits))


def _thumbs(index: Index) -> Iterator[tuple[Ints, Floats]]:
    """Yield ids and thumbnails, a row each, ordered by content."""
    rows = index.comparisons.thumbnails()
    while block := list(islice(rows, BLOCK)):
        ids, data = zip(*block, strict=True)
        thumbs = np.frombuffer(b"".join(data), np.float16).reshape(len(block), CELLS)
        yield np.array(ids, np.int64), thumbs.astype(np.float32)


def neighbours(images: Codes, among: Codes) -> Iterator[tuple[Ints, Ints]]:
    """Yield (n) ids of images and (n, NEIGHBOURS) ids of the most alike among others, the nearest first, 0 for none.

    An image is no neighbour of itself. Both must be parts of one result of `codes`.
    """
    if not len(images.ids) or not len(among.ids):
        return
    if images.thumbs is not None and among.thumbs is not None:
        yield from _all_compared(images.ids, images.thumbs, among.ids, among.thumbs)
        return
    orders = [_keys(images, among, order) for order in range(ORDERS)]
    reach = np.arange(-REACH, REACH)
    for start in range(0, len(images.ids), BLOCK):
        part = slice(start, start + BLOCK)
        ids, bits = images.ids[part], images.bits[part]
        hits: list[tuple[Ints, Ints, Places]] = []
        for places, ordered in orders:
            near = ordered[np.clip(places[part, None] + reach, 0, len(ordered) - 1)]
            differing = np.bitwise_count(bits[:, None] ^ among.bits[near]).sum(axis=2, dtype=np.int64)
            row, column = np.nonzero((differing <= DIFFERENT * BITS) & (among.ids[near] != ids[:, None]))
            hits.append((row, differing[row, column], near[row, column]))
        row, bits_apart, place = (np.concatenate(part) for part in zip(*hits, strict=True))
        yield ids, _nearest(len(ids), row, bits_apart, place, among.ids)


def _nearest(count: int, row: Ints, differing: Ints, place: Places, ids: Ints) -> Ints:
    """Return the ids of the nearest of what was hit, often more than once, for each of `count` rows."""
    order = np.lexsort((place, differing, row))
    row, place = row[order], place[order]
    once = np.ones(len(row), bool)
    once[1:] = (row[1:] != row[:-1]) | (place[1:] != place[:-1])
    row, place = row[once], place[once]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    result = np.zeros((count, NEIGHBOURS), np.int64)
    kept = rank < NEIGHBOURS
    result[row[kept], rank[kept]] = ids[place[kept]]
    return result


def _all_compared(ids: Ints, thumbs: Floats, others: Ints, among: Floats) -> Iterator[tuple[Ints, Ints]]:
    """Yield the same by the Euclidean distance to all others."""
    kept = min(NEIGHBOURS, len(others))
    squares = (among * among).sum(axis=1)
    for start in range(0, len(ids), BLOCK):
        part = slice(start, start + BLOCK)
        distances = squares - 2 * thumbs[part] @ among.T  # but for the square of the image itself
        distances[others == ids[part, None]] = np.inf
        best = np.argpartition(distances, kept - 1, axis=1)[:, :kept]
        nearest = np.take_along_axis(distances, best, 1)
        first = np.argsort(nearest, axis=1, kind="stable")
        found = np.where(np.isfinite(nearest), others[best], 0)
        yield ids[part], np.take_along_axis(found, first, 1)


def _keys(images: Codes, among: Codes, order: int) -> tuple[Places, Places]:
    """Sort by 64 of the bits as a number; returns where each image would stand, and the order of the others."""
    chosen = np.random.default_rng(order).permutation(BITS)[:64]
    others = _numbers(among, chosen)
    ordered = np.argsort(others, kind="stable")
    own = others if images is among else _numbers(images, chosen)
    return np.searchsorted(others[ordered], own).astype(np.int32), ordered.astype(np.int32)


def _numbers(codes: Codes, chosen: Ints) -> NDArray[np.uint64]:
    result = np.empty(len(codes.ids), np.uint64)
    for start in range(0, len(result), BLOCK):
        signs = np.unpackbits(codes.bits[start : start + BLOCK].view(np.uint8), axis=1)
        result[start : start + BLOCK] = np.packbits(np.take(signs, chosen, 1), axis=1).view(">u8").ravel()
    return result


def alike(a: bytes, b: bytes, levels: float) -> bool:
    """Tell whether two thumbnails may show the same picture: no place differs by more than `levels`, few by much."""
    first, second = (np.frombuffer(thumb, np.float16).astype(np.float32) for thumb in (a, b))
    difference = np.abs(first - second)
    return bool(difference.max() <= levels and difference.mean() <= MEAN_LEVELS)
