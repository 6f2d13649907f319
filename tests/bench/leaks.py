"""Measures how many leaked copies the gate finds: `make bench ARGS="--only leaks"`.

The rival compares all pairs by the gate's own tests. Which images are copies is known from the drawing, so that what
both miss or call a copy wrongly is counted too. Each measurement is a process of its own.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sightline.config.presets import resolve
from sightline.datasets import formats
from sightline.datasets.sources import opened
from sightline.image_files.thumbnails import THUMB
from sightline.validate import index
from sightline.validate.checks import copies, cross_image, near_duplicates
from sightline.validate.checks.similarity import same_picture
from sightline.validate.scan import scan
from tests.bench import scenes
from tests.helpers import index_rows

ROOT = Path(__file__).parents[2]
IMAGES = (1_000, 10_000)
THUMBS = (10_000, 100_000)
KINDS = {"plain ground": (0.6, 0.15), "fixed cameras": (0.15, 0.3)}  # grey levels: what differs, and encoding
BLOCK = 256


def main(folder: Path, images: Sequence[int], thumbs: Sequence[int]) -> dict[str, Any]:
    """Run all benchmarks of leaks below `folder`."""
    sets = []
    for count in images:
        root = folder / f"scenes-{count}"
        files = scenes.draw(root, count)
        sets.append({"images": len(files), "scenes": scenes.SCENES, **job("found", str(root), str(count))})
    return {"sets": sets, "thumbs": [job("searched", kind, str(count)) for kind in KINDS for count in thumbs]}


def job(name: str, *arguments: str) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.leaks", name, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=dict(os.environ), stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def found(root: str, count: str) -> dict[str, Any]:
    """Count what is found in a set that `scenes` drew, by the gate and by all pairs."""
    config = resolve("balanced", {})
    leaked = {f"images/{file.split}/{file.name}" for file in _held_out(scenes.listed(int(count)))}
    with opened(root, None) as folder, index.opened(None) as rows:
        start = time.monotonic()
        reading = formats.read(folder, "auto", 0)
        scan(reading, rows, config)
        scanned = time.monotonic()
        cross_image.compare(rows, config.data.policy, join_scenes=False)
        compared = time.monotonic()
        reported = {issue.place for issue in rows.issues.of_rules(["leaked-copy"])}
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        levels = config.data.policy.thresholds.near_levels
        pairs = set(_all_pairs(rows, levels))
        rival = time.monotonic()
    return {
        "leaked": len(leaked),
        "gate": _scored(reported, leaked),
        "all_pairs": _scored(pairs, leaked),
        "scan_seconds": scanned - start,
        "compare_seconds": compared - scanned,
        "all_pairs_seconds": rival - compared,
        "peak_memory_bytes": memory,
    }


def _held_out(files: list[scenes.File]) -> Iterator[scenes.File]:
    """Yield the files of which a copy lies in a split before theirs."""
    order = list(scenes.SPLITS)
    first: dict[int, int] = {}
    for file in files:
        first[file.picture] = min(first.get(file.picture, 9), order.index(file.split))
    yield from (file for file in files if order.index(file.split) > first[file.picture])


def _scored(reported: set[str], leaked: set[str]) -> dict[str, Any]:
    return {"recall": len(reported & leaked) / len(leaked), "false_alarms": len(reported - leaked)}


def _all_pairs(rows: index.Index, levels: float) -> Iterator[str]:
    """Yield the held-out images that one of an earlier split is a copy of, by comparing each with each."""
    comparison = copies.Copies(rows, levels)
    rank = dict(rows.comparisons.split_ranks("declared_split"))
    ids, parts = zip(*near_duplicates._thumbs(rows), strict=True)
    all_ids, thumbs = np.concatenate(ids), np.concatenate(parts)
    ranks = np.array([rank[id] for id in all_ids])
    items = rows.comparisons.compared(all_ids.tolist())
    for place in np.flatnonzero(ranks):
        earlier = np.flatnonzero(ranks < ranks[place])
        difference = np.abs(thumbs[earlier] - thumbs[place])
        close = earlier[(difference.max(axis=1) <= levels) & (difference.mean(axis=1) <= near_duplicates.MEAN_LEVELS)]
        id = int(all_ids[place])
        others = [int(other) for other in all_ids[close] if comparison._comparable(items[id], items[int(other)])]
        comparison._look({id, *others}, items)
        looks = (comparison._looks(items[id], items[other]) for other in others)
        if any(same_picture(*pair, levels) for pair in looks if pair):
            yield items[id].source


def searched(kind: str, count: str) -> dict[str, Any]:
    """Count how many copies are among the neighbours, of thumbnails drawn at random, and time the nearest of all."""
    images, (differs, coding) = int(count), KINDS[kind]
    rng = np.random.default_rng(0)
    ground = (
        rng.uniform(30, 220, (scenes.SCENES, near_duplicates.CELLS))
        if kind == "fixed cameras"
        else np.full((1, 1), 128.0)
    )
    thumbs = ground[rng.integers(0, len(ground), images)] + rng.normal(0, differs, (images, near_duplicates.CELLS))
    if kind == "fixed cameras":
        for _ in range(3):
            place = rng.integers(0, near_duplicates.CELLS, images)
            thumbs[np.arange(images), place] += rng.choice([-1, 1], images) * rng.uniform(5, 30, images)
    sources = rng.choice(images, images // 20, replace=False)
    copied = thumbs[sources] + rng.normal(0, coding, (len(sources), near_duplicates.CELLS))
    drawn = np.vstack([thumbs, copied]).astype(np.float16)
    with index.opened(None) as rows:
        hashes = [f"{n * 7919 % len(drawn):09}" for n in range(len(drawn))]
        index_rows.fill(rows, hashes, thumbs=[thumb.tobytes() for thumb in drawn])
        start = time.monotonic()
        codes = near_duplicates.codes(rows)
        first = codes.ids <= images
        hits = 0
        for ids, others in near_duplicates.neighbours(codes.select(~first), codes.select(first)):
            hits += int((others == sources[ids - images - 1, None] + 1).any(axis=1).sum())
        across_seconds = time.monotonic() - start
        for _ in near_duplicates.neighbours(codes, codes):
            pass
        seconds = time.monotonic() - start
    rival = time.monotonic()
    whole = drawn.astype(np.float32)
    squares = (whole * whole).sum(axis=1)
    right = 0
    for begin in range(0, len(whole), BLOCK):
        distances = squares - 2 * whole[begin : begin + BLOCK] @ whole.T
        places = np.arange(begin, min(begin + BLOCK, len(whole)))
        distances[np.arange(len(places)), places] = np.inf
        nearest = distances.argmin(axis=1)
        mine = places >= images
        right += int((nearest[mine] == sources[places[mine] - images]).sum())
    return {
        "kind": kind,
        "thumbnails": len(drawn),
        "copies": len(sources),
        "recall": hits / len(sources),
        "across_seconds": across_seconds,
        "seconds": seconds,
        "all_pairs_recall": right / len(sources),
        "all_pairs_seconds": time.monotonic() - rival,
    }


if __name__ == "__main__":
    assert near_duplicates.CELLS == THUMB * THUMB
    print(json.dumps({"found": found, "searched": searched}[sys.argv[1]](*sys.argv[2:])))
