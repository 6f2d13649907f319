"""The page a team decides from: one self-contained HTML file, without scripts and without a request to anywhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sightline import __version__
from sightline.config.assignments import flat
from sightline.documents import (
    Chosen,
    ConfusionMatrix,
    Curve,
    Documents,
    EvaluateDocument,
    ExportDocument,
    SampleDocument,
    SummaryDocument,
    TrainDocument,
    decimals,
    load,
)
from sightline.pages import error_analysis
from sightline.pages.charts import Chart, Line, round_up
from sightline.pages.environment import environment
from sightline.runtime.stage_frame import NAMES
from sightline.tracking.server import Place

DRAWING_SIDE = 720  # pixels; twice a gallery column, sharp on dense screens, and small inside one file
RATES = (0.0, 1.0)
WHY: dict[Chosen, str] = {
    "miss": "Most missed",
    "false alarm": "Most false alarms",
    "typical": "Typical",
    "empty": "Nothing in it",
}
WORDS = 5  # mistakes of a class that are named one by one


class Verdict(NamedTuple):
    """The first thing on the page."""

    word: str
    sentence: str
    tone: str
    reasons: list[str]


class Cell(NamedTuple):
    """One field of the confusion matrix: its count, how strongly it is coloured (0..100), and as what."""

    boxes: int | None
    heat: int
    kind: str


def render(summary: SummaryDocument, folders: Mapping[str, Path], mlflow: Place | None = None) -> str:
    """Return the page of a run, finished or not; parts that were not reached are named and left out.

    `mlflow` is where the run is being recorded; without it the report document says so, if there is one.
    """
    templates = environment()
    templates.filters.update(score=score, decimals=decimals, duration=duration, size=size, count=count)
    documents = load(folders)
    return templates.get_template("run.html.j2").render(context(summary, documents, folders, mlflow))


def context(
    summary: SummaryDocument, documents: Documents, folders: Mapping[str, Path], mlflow: Place | None
) -> dict[str, Any]:
    """Return everything the template shows."""
    evaluated = documents.evaluate
    charts = [
        *(_training(documents.train) if documents.train else []),
        *(_curves(evaluated, documents.export) if evaluated else []),
    ]
    longest = max((stage.seconds or 0 for stage in summary.stages), default=0)
    recorded = documents.report
    return {
        "summary": summary,
        "version": __version__,
        "verdict": verdict(summary, evaluated),
        "documents": documents,
        "charts": charts,
        "confusion": _confusion(evaluated.confusion) if evaluated else [],
        "confusion_in_words": _in_words(evaluated.confusion) if evaluated else [],
        "errors": error_analysis.analyse(evaluated, folders["evaluate"]) if evaluated else None,
        "why": WHY,
        "pictures": _pictures(documents.sample, folders["sample"]) if documents.sample else [],
        "config": flat(documents.config) if documents.config else {},
        "missing": [name for name in NAMES[:5] if getattr(documents, name) is None],
        "longest": longest or 1,
        "mlflow": mlflow or (recorded and Place(recorded.tracking_uri, recorded.experiment, recorded.run_id)),
    }


def verdict(summary: SummaryDocument, evaluated: EvaluateDocument | None) -> Verdict:
    """Say in words how the run ended and why. A model that nothing was asked of is not shown as a good one."""
    reasons = evaluated.reasons if evaluated else []
    gate = evaluated.gate if evaluated else None
    asked = gate is None or any(minimum is not None for minimum in vars(gate).values())
    tone = "good" if asked else "plain"
    unasked = "" if asked else " No minimum was set (gate.min_map50 and others): any score would have passed."
    if summary.register_:
        name, version = summary.register_.model_name, summary.register_.version
        aliases = f", alias {', '.join(summary.register_.aliases)}" if summary.register_.aliases else ""
        return Verdict("Registered", f"{name}, version {version}{aliases}.{unasked}", tone, reasons if asked else [])
    if summary.error:
        if summary.rejected_by == "data":
            return Verdict("Rejected", "The data gate refused the data, so nothing was trained on it.", "bad", [])
        return Verdict("Failed", f"The run stopped in {summary.error.stage}.", "bad", [])
    if summary.rejected_by == "score":
        return Verdict("Rejected", "The score gate turned this model down; it was not registered.", "warn", reasons)
    if evaluated:
        return Verdict("Accepted", f"Registration follows.{unasked}", tone, reasons if asked else [])
    return Verdict("Unfinished", "This run has no verdict yet.", "warn", [])


def score(value: float | None) -> str:
    """Three decimals; a dash for what has no value."""
    return "–" if value is None else f"{value:.3f}"


def count(value: int, noun: str, plural: str = "") -> str:
    """Put a number before its noun: `1 image`, `1,200 images`."""
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"


def duration(seconds: float | None) -> str:
    """Say a duration in its two largest units."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def size(value: float) -> str:
    """Say a number of bytes in the unit it is read in."""
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def _training(document: TrainDocument) -> list[Chart]:
    if not document.history:
        return []
    history = document.history
    epochs = [float(epoch.epoch) for epoch in history]
    losses = [
        line
        for tone, part in enumerate(("box", "class", "dfl"), start=1)
        for line in (
            _series(epochs, [getattr(epoch, f"{part}_loss") for epoch in history], f"{part}, train", tone),
            _series(epochs, [getattr(epoch, f"val_{part}_loss") for epoch in history], f"{part}, val", tone, True),
        )
        if line.y
    ]
    top = round_up(max(value for line in losses for value in line.y))
    x_range = (min(1.0, epochs[0]), max(epochs[-1], 2.0))
    scores = [
        Line("mAP 50–95", epochs, [epoch.map50_95 for epoch in history], 1),
        Line("mAP 50", epochs, [epoch.map50 for epoch in history], 2),
    ]
    return [
        Chart("Losses", "Training and val, by epoch.", losses, "epoch", x_range, (0.0, top), whole=True),
        Chart(
            "Validation score",
            f"The engine's own, by epoch; epoch {document.best.epoch} was kept.",
            scores,
            "epoch",
            x_range,
            RATES,
            mark=float(document.best.epoch),
            mark_label="kept",
            whole=True,
        ),
    ]


def _series(x: list[float], y: list[float | None], name: str, tone: int, dashed: bool = False) -> Line:
    known = [(a, b) for a, b in zip(x, y, strict=True) if b is not None]
    return Line(name, [a for a, _ in known], [b for _, b in known], tone, dashed)


def _curves(document: EvaluateDocument, exported: ExportDocument | None) -> list[Chart]:
    curves = document.curves

    # Where scores crowd below 1, all that matters lies at the right edge: only that is drawn then.
    low = 1 - 4 * (1 - document.confidence) if document.confidence > 0.98 else 0.0

    def line(name: str, curve: Curve, tone: int, dashed: bool = False, left: float = 0.0) -> Line:
        points = [(x, y) for x, y in zip(curve.x, curve.y, strict=True) if x >= left - 1e-12]
        return Line(name, [x for x, _ in points], [y for _, y in points], tone, dashed)

    choice = exported.f1_curve if exported else None
    chosen = exported is None or exported.confidence_f1 > 0
    if not chosen:
        lines = [line("precision", curves.precision, 1), line("recall", curves.recall, 2), line("F1", curves.f1, 3)]
        note = (
            "No operating point could be chosen: at no confidence was anything found on val that is there. Shown are "
            f"all boxes together on {document.split}. IoU 0.50."
        )
    elif choice:
        lines = [
            line("mean F1, val", choice, 3, left=low),
            line(f"precision, {document.split}", curves.precision, 1, True, low),
            line(f"recall, {document.split}", curves.recall, 2, True, low),
        ]
        note = (
            "The operating point is where F1 averaged over the classes is best on val (solid). Dashed: precision and "
            f"recall of all boxes together on {document.split}. IoU 0.50."
        )
    else:
        lines = [line("precision", curves.precision, 1), line("recall", curves.recall, 2), line("F1", curves.f1, 3)]
        note = (
            "The operating point was chosen by F1 averaged over the classes on val, which this run did not keep. "
            f"Shown are all boxes together on {document.split}, whose F1 may be best elsewhere. IoU 0.50."
        )
    return [
        Chart(
            "Precision against recall",
            f"Mean over classes at IoU 0.50, {document.split} split.",
            [line("precision", curves.precision_recall, 1)],
            "recall",
            RATES,
            RATES,
        ),
        Chart(
            "Choosing a confidence",
            note,
            lines,
            "confidence",
            (low, 1.0) if choice and chosen else RATES,
            RATES,
            mark=document.confidence if chosen else None,
            mark_label=f"operating point {decimals(document.confidence)}",
        ),
    ]


def _confusion(matrix: ConfusionMatrix) -> list[tuple[str, list[Cell]]]:
    """Colour each count by its share of the row; the corner of nothing found where nothing is has no count."""
    last = len(matrix.labels) - 1
    rows = []
    for i, (label, counts) in enumerate(zip(matrix.labels, matrix.counts, strict=True)):
        total = sum(counts) or 1
        cells = [
            Cell(None if i == j == last else count, round(55 * count / total), "hit" if i == j else "miss")
            for j, count in enumerate(counts)
        ]
        rows.append((label, cells))
    return rows


def _in_words(matrix: ConfusionMatrix) -> list[tuple[str, str]]:
    """Say each row of the confusion matrix in words, for screens that it does not fit: the commonest mistakes of it."""
    last = len(matrix.labels) - 1
    rows = []
    for i, (label, counts) in enumerate(zip(matrix.labels, matrix.counts, strict=True)):
        others = sorted(((n, matrix.labels[j]) for j, n in enumerate(counts[:last]) if n and j != i), reverse=True)
        words = [f"{counts[i]:,} found", f"{counts[last]:,} missed"] if i != last else []
        words += [f"{n:,} {'as ' if i != last else ''}{name}" for n, name in others[:WORDS]]
        words += [f"{sum(n for n, _ in others[WORDS:]):,} as others"] if len(others) > WORDS else []
        if sum(counts):
            rows.append(("nothing there" if i == last else label, ", ".join(words)))
    return rows


def _pictures(document: SampleDocument, folder: Path) -> list[tuple[Any, str]]:
    """Pair each sample with its drawing as a data: URI."""
    return [(sample, _inline(folder / sample.file)) for sample in document.samples]


def _inline(path: Path) -> str:
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB")
    small.thumbnail((DRAWING_SIDE, DRAWING_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
