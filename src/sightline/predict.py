"""Predict: run an exported file over a person's own images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sightline.artifacts import write_bytes, write_text
from sightline.detect import Detector, Device, read_image
from sightline.drawing import annotate, jpeg
from sightline.errors import DataError
from sightline.progress import Ticker
from sightline.validate.dataset import IMAGE_SUFFIXES


def predict(
    images: Sequence[Path], *, model: Path, to: Path, confidence: float | None = None, device: Device = "auto"
) -> list[dict[str, Any]]:
    """Write an annotated copy of every image and `predictions.json` into `to`; returns what the JSON holds.

    Raises DataError, before anything is written, naming every path that is no readable image.
    """
    paths = _expand(images)
    detector = Detector(model, device=device, confidence=confidence)
    results: list[dict[str, Any]] = []
    to.mkdir(parents=True, exist_ok=True)
    ticker = Ticker("predict", len(paths))
    for index, (path, found) in enumerate(zip(paths, detector.stream(paths), strict=True)):
        name = f"{index:04d}-{path.stem}.jpg"
        write_bytes(to / name, jpeg(annotate(read_image(path), found)))
        results.append(
            {"image": str(path), "annotated": name, "finding": found.finding(), "detections": found.as_dicts()}
        )
        ticker.tick()
    write_text(to / "predictions.json", json.dumps(results, indent=2) + "\n")
    return results


def _expand(images: Sequence[Path]) -> list[Path]:
    """Replace folders by the images in them, and make sure that every file is one."""
    paths: list[Path] = []
    problems = []
    for path in images:
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES) if path.is_dir() else [path]
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
    return paths
