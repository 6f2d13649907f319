"""Finds candidates for near-duplicates among very many images, by the content of their grey thumbnails.

Thumbnails of a fixed camera agree in all but a few places, and those of plain backgrounds in all but a little grain, so
what the images of a set have in common is removed first: thumbnails are whitened with the covariance of the set, down
to the noise of encoding. The signs of random projections (Charikar, "Similarity estimation techniques from rounding
algorithms", 2002) give 256 bits per image; copies share nine in ten or more of them, different images half. Neighbours
are found as in that paper: images are sorted by their bits in many random orders of the bits, and those close to each
other in one of the orders are compared bit by bit. Time grows as n log n, memory by 300 bytes per image. In a small
set, whose covariance means little, all thumbnails are compared with each other. `make bench ARGS="--only leaks"`
measures the share of copies found, against a comparison of all pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.image_files.thumbnails import THUMB
from sightline.validate.index import Index

CELLS = THUMB * THUMB
NOISE = 0.4  # grey levels by which encoding changes a place of a thumbnail; smaller variation is ignored
BITS = 256
WORDS = BITS // 64
ORDERS = 32  # random orders of the bits; a copy must be close in one of them
REACH = 8  # images compared before and after an image in each order
DIFFERENT = 0.33  # largest share of bits in which copies differ; different images differ in half
SMALL = 4096  # images up to which all are compared with each other
NEIGHBOURS = 8  # most similar images of an image, to be compared closely
MEAN_LEVELS = 3.0  # largest mean difference, in grey levels, between thumbnails of the same picture
BLOCK = 2048  # images in memory at a time, as floating point

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Places = NDArray[np.int32]  # positions; 32 bits because there are 2 * ORDERS of them per image


class Codes(NamedTuple):
    """Ids (n) and bits (n, WORDS) of images, in an order that does not depend on their names.

    A small set has `thumbs` (n, CELLS) instead of bits.
    """

    ids: Ints
    bits: NDArray[np.uint64]
    thumbs: Floats | None = None

    def select(self, chosen: NDArray[np.bool_]) -> Codes:
        """Return the images that a mask (n) selects."""
        if self.thumbs is not None:
            return Codes(self.ids[chosen], self.bits, self.thumbs[chosen])
        return Codes(self.ids[chosen], self.bits[chosen])


def codes(index: Index) -> Codes:
    """Return the codes of all images with a thumbnail, except byte-for-byte copies within a split."""
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
    rng = np.random.default_rng(20)  # any seed will do, but the projections must be the same every time
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
    """Yield ids of images (n) and of their most similar ones in `among` (n, NEIGHBOURS), nearest first, 0 for none.

    An image is not its own neighbour. Both arguments must be parts of one result of `codes`.
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
    """Return the ids of the nearest hits (count, NEIGHBOURS) of each row; a hit may occur several times."""
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
    """Yield the same as `neighbours`, by the Euclidean distance to all others."""
    kept = min(NEIGHBOURS, len(others))
    squares = (among * among).sum(axis=1)
    for start in range(0, len(ids), BLOCK):
        part = slice(start, start + BLOCK)
        distances = squares - 2 * thumbs[part] @ among.T  # without the square of the image itself
        distances[others == ids[part, None]] = np.inf
        best = np.argpartition(distances, kept - 1, axis=1)[:, :kept]
        nearest = np.take_along_axis(distances, best, 1)
        first = np.argsort(nearest, axis=1, kind="stable")
        found = np.where(np.isfinite(nearest), others[best], 0)
        yield ids[part], np.take_along_axis(found, first, 1)


def _keys(images: Codes, among: Codes, order: int) -> tuple[Places, Places]:
    """Sort by a number made of 64 bits; return the position of each image in that order, and the order of `among`."""
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


def thumbnails_alike(a: bytes, b: bytes, levels: float) -> bool:
    """Tell whether two thumbnails may show the same picture, by their largest and mean difference in grey levels."""
    first, second = (np.frombuffer(thumb, np.float16).astype(np.float32) for thumb in (a, b))
    difference = np.abs(first - second)
    return bool(difference.max() <= levels and difference.mean() <= MEAN_LEVELS)
