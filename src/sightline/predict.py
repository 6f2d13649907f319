"""Predict: run an exported file on a user's own images."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Callable, Sequence
from itertools import tee
from pathlib import Path
from typing import Any

import cv2

from sightline.annotate import annotate, jpeg
from sightline.atomic import write_bytes, write_text
from sightline.detect import Detector, Device
from sightline.errors import DataError, shortened
from sightline.image_files.folders import images_below
from sightline.image_files.images import IMAGE_SUFFIXES
from sightline.preprocess import read_image
from sightline.runtime.progress import Ticker

STEM = 50  # characters of an image's name in that of its copy, which file systems limit to 255 bytes


def predict(
    images: Sequence[Path],
    *,
    model: Path,
    to: Path,
    confidence: float | None = None,
    device: Device = "auto",
    say: Callable[[str], object] = print,
) -> list[dict[str, Any]]:
    """Write an annotated copy of every image and `predictions.json` into `to`; returns what the JSON holds.

    `images` are files, folders (with all below them) and patterns such as `photos/**/*.jpg`. `say` gets a line for
    each folder of which files are left out; files in `to` are earlier results, and left out unless they are named.
    Raises DataError, before anything is written, naming every path that is not a readable image, every pattern that
    matches nothing, and a `to` that is itself searched for images.
    """
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # decoders repeat, less clearly, what is raised
    paths, left_out = _expand(images, to)
    detector = Detector(model, device=device, confidence=confidence)
    for line in left_out:
        say(line)
    results: list[dict[str, Any]] = []
    to.mkdir(parents=True, exist_ok=True)
    ticker = Ticker("predict", len(paths))
    shown, used = tee(map(read_image, paths))  # read once; no more than a batch of them is held
    for index, (path, image, found) in enumerate(zip(paths, shown, detector.stream(used), strict=True)):
        name = f"{index:04d}-{path.stem[:STEM]}.jpg"
        write_bytes(to / name, jpeg(annotate(image, found)))
        results.append(
            {"image": str(path), "annotated": name, "finding": found.finding(), "detections": found.as_dicts()}
        )
        ticker.tick()
    write_text(to / "predictions.json", json.dumps(results, indent=2) + "\n")
    return results


def _expand(images: Sequence[Path], to: Path) -> tuple[list[Path], list[str]]:
    """Replace folders and patterns by the images in them, and check that every file is one.

    Returns the images, and what was left out of each folder.
    """
    paths: list[Path] = []
    left_out, problems = [], []
    for given in images:
        matches = _matches(given)
        if matches != [given] and (results := [path for path in matches if _is_result(path, to)]):
            matches = [path for path in matches if path not in results]
            left_out.append(f"left out of {given}: {len(results)} in {to}, where results go")
            if not matches:
                problems.append(f"{given} matches only files in {to}, where results go; choose another --to")
        elif not matches:
            problems.append(f"{shortened(given)} matches no file")
        for path in matches:
            if not os.path.isdir(path):  # noqa: PTH112 - Path's raises for a name that is too long
                paths.append(path)
                continue
            if path.resolve() == to.resolve():
                problems.append(
                    f"{path} is searched for images, so results cannot go there: the next search would find them. "
                    f"Choose another --to, such as {path / 'predictions'}"
                )
                continue
            inside, others = images_below(path, to)
            if others:
                commonest = sorted(others.items(), key=lambda item: (-item[1], item[0]))
                kinds = ", ".join(f"{count} {kind}" for kind, count in commonest)
                left_out.append(f"left out of {path}: {kinds} (of a folder, {', '.join(IMAGE_SUFFIXES)} are taken)")
            if not inside:
                problems.append(f"{path} holds no image ({', '.join(IMAGE_SUFFIXES)})")
            paths += inside
    for path in paths:
        try:
            read_image(path)  # twice the decoding, for never stopping half-way
        except DataError as error:
            problems.append(error.message)
    if problems:
        raise DataError("Some of the images cannot be used:", problems)
    return paths, left_out


def _matches(given: Path) -> list[Path]:
    """Return the paths that a pattern matches; a path that exists is never taken for a pattern."""
    if os.path.exists(given) or not glob.has_magic(str(given)):  # noqa: PTH110 - Path's raises for too long a name
        return [given]
    return [Path(match) for match in sorted(glob.glob(str(given), recursive=True))]  # noqa: PTH207 - takes any path


def _is_result(path: Path, to: Path) -> bool:
    """Return whether a match of a pattern is the folder of results, or a file in it."""
    results = to.resolve()
    return path.resolve() == results or (path.resolve().parent == results and not path.is_dir())
