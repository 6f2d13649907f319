"""What is right and wrong image by image, and at which scores: read from the predictions file."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline import predictions
from sightline.documents import EvaluateDocument, decimals
from sightline.errors import SightlineError
from sightline.pages.svg import Chart, Line
from sightline.predictions import Errors, Predictions

BINS = 40  # of the histogram, from score 0 to 1
BASE = -0.3  # of the logarithmic axis, where a count of 0 is drawn: below 1, which is 10 to the power 0
WORST = 8  # images in a table


class ImageErrors(NamedTuple):
    """One image of a table."""

    image: str
    labelled: int
    missed: int
    false: int


class ErrorAnalysis(NamedTuple):
    """What the page shows of the predictions; `problem` is why it shows nothing."""

    problem: str | None
    chart: Chart | None = None
    facts: tuple[tuple[str, str], ...] = ()
    most_missed: tuple[ImageErrors, ...] = ()
    most_false: tuple[ImageErrors, ...] = ()


def analyse(document: EvaluateDocument, folder: Path) -> ErrorAnalysis | None:
    """Return what the predictions of an evaluation in `folder` show; None for an evaluation without them.

    The page must always appear: predictions that cannot be read become its `problem`.
    """
    try:
        found = predictions.load(document, folder, match_again=False)
    except SightlineError as error:
        return ErrorAnalysis(str(error))
    if found is None:
        return None
    errors = found.errors(document.confidence)
    return ErrorAnalysis(
        None,
        _histogram(found, document),
        tuple(_facts(found, errors, document.confidence)),
        _worst(found, errors, errors.missed),
        _worst(found, errors, errors.false),
    )


def _histogram(found: Predictions, document: EvaluateDocument) -> Chart:
    right = found.detection_matches >= 0
    counts = [np.histogram(found.detection_scores[rows], BINS, (0.0, 1.0))[0] for rows in (right, ~right)]
    top = max(1.0, float(np.log10(max(int(one.max()) for one in counts) or 1)) + 0.2)
    return Chart(
        "Right and wrong detections by score",
        f"Every detection above {found.header.floor:g} on {document.split}; a right one claims an object of its class "
        f"at IoU {found.header.iou:.2f}. What lies left of the operating point is not reported. The axis of counts is "
        "logarithmic.",
        [_outline("right", counts[0], 1), _outline("wrong", counts[1], 2)],
        "score",
        (0.0, 1.0),
        (BASE, top),
        mark=document.confidence,
        mark_label=f"operating point {decimals(document.confidence)}",
        powers=True,
    )


def _outline(name: str, counts: NDArray[np.int64], tone: int) -> Line:
    """Draw the bars of a histogram as one outline."""
    edges = np.linspace(0, 1, BINS + 1)
    heights = np.where(counts > 0, np.log10(np.maximum(counts, 1)), BASE)
    return Line(name, np.repeat(edges, 2)[1:-1].tolist(), np.repeat(heights, 2).tolist(), tone)


def _facts(found: Predictions, errors: Errors, confidence: float) -> list[tuple[str, str]]:
    """Count what is found, missed and wrong at a confidence, and what a lower one would find."""
    right, sure = found.detection_matches >= 0, found.above(confidence)
    missed, below = int(errors.missed.sum()), int((right & ~sure).sum())
    empty = errors.labelled == 0
    rows = [
        ("Right, reported", f"{int((right & sure).sum()):,} detections"),
        ("Wrong, reported", f"{int((~right & sure).sum()):,}, in {int((errors.false > 0).sum()):,} images"),
        ("Objects missed", f"{missed:,}, in {int((errors.missed > 0).sum()):,} images"),
        ("seen below the operating point", f"{below:,} of them"),
        ("not seen at any score", f"{missed - below:,} of them"),
        ("Images without an error", f"{int(((errors.missed == 0) & (errors.false == 0)).sum()):,} of {len(found):,}"),
    ]
    if empty.any():
        clean = int((empty & (errors.false == 0)).sum())
        rows.append(("Empty images left clean", f"{clean:,} of {int(empty.sum()):,}"))
    return rows


def _worst(found: Predictions, errors: Errors, counts: NDArray[np.int64]) -> tuple[ImageErrors, ...]:
    """Return the images with the highest counts, in split order where these tie; images without any are left out."""
    order = np.argsort(-counts, kind="stable")[:WORST]
    return tuple(
        ImageErrors(
            str(found.image_sources[image]),
            int(errors.labelled[image]),
            int(errors.missed[image]),
            int(errors.false[image]),
        )
        for image in order.tolist()
        if counts[image]
    )
