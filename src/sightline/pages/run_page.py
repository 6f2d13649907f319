"""The page of a run, from which a team decides: one self-contained HTML file, without scripts or requests."""

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
    Documents,
    EvaluateDocument,
    Preflight,
    SampleDocument,
    SummaryDocument,
    TrainDocument,
    load,
)
from sightline.documents.cause import CauseKind
from sightline.pages import attempts, error_analysis, run_cost, train_time
from sightline.pages.environment import environment
from sightline.pages.formatting import Headline, duration, size
from sightline.pages.run_charts import score_charts, training_charts
from sightline.runtime.stage_frame import NAMES
from sightline.tracking.address import Place, place_of

DRAWING_SIDE = 720  # pixels; twice a gallery column, sharp on dense screens, and small inside one file
SHEET_SIDE = 1040  # pixels; twice a column of sheets
SHEETS = {
    "train": ("What training saw", "The first images of an epoch as the network gets them, mosaics included."),
    "val": ("Labels and predictions on val", "By the weights of the best epoch, which are exported."),
}
WHY: dict[Chosen, str] = {
    "miss": "Most missed",
    "false alarm": "Most false alarms",
    "typical": "Typical",
    "empty": "Nothing in it",
}
OWN: tuple[CauseKind, ...] = ("stage", "rejected", "unknown")  # causes beside which the error says more
WORDS = 5  # mistakes of a class that are named one by one


class Cell(NamedTuple):
    """One field of the confusion matrix: its count, how strongly it is coloured (0..100), and as what."""

    boxes: int | None
    heat: int
    kind: str


def render(summary: SummaryDocument, folders: Mapping[str, Path], mlflow: Place | None = None) -> str:
    """Return the page of a run, finished or not; parts that were not reached are named and left out.

    `mlflow` is where the run is being recorded; without it the report document says so, if there is one.
    """
    documents = load(folders)
    return environment().get_template("run.html.j2").render(context(summary, documents, folders, mlflow))


def context(
    summary: SummaryDocument, documents: Documents, folders: Mapping[str, Path], mlflow: Place | None
) -> dict[str, Any]:
    """Return everything the template shows."""
    evaluated = documents.evaluate
    charts = [
        *(training_charts(documents.train) if documents.train else []),
        *(score_charts(evaluated, documents.export) if evaluated else []),
    ]
    longest = max((stage.seconds or 0 for stage in summary.stages), default=0)
    outdated = documents.outdated()
    return {
        "summary": summary,
        "version": __version__,
        "headline": headline(summary, evaluated),
        "explained": summary.cause is not None and summary.cause.kind not in OWN,  # its sentence stands for the error's
        "documents": documents,
        "charts": charts,
        "cost": run_cost.table(summary.cost) if summary.cost else None,
        "attempts": attempts.timeline(documents.train) if documents.train else None,
        "time": train_time.table(documents.train) if documents.train else None,
        "confusion": _confusion(evaluated.confusion) if evaluated else [],
        "confusion_in_words": _in_words(evaluated.confusion) if evaluated else [],
        "errors": error_analysis.analyse(evaluated, folders["evaluate"]) if evaluated else None,
        "why": WHY,
        "outdated": outdated,
        "gallery": _gallery(documents.sample, folders["sample"])
        if documents.sample and "sample" not in outdated
        else [],
        "sheets": _sheets(documents.train, folders["train"]) if documents.train else [],
        "preflight": _in_a_line(documents.train.preflight) if documents.train and documents.train.preflight else "",
        "config": flat(documents.config) if documents.config else {},
        "missing": [name for name in NAMES[: NAMES.index("report")] if getattr(documents, name) is None],
        "longest": longest or 1,
        "mlflow": mlflow or (documents.report and place_of(documents.report)),
        "untracked": documents.untracked or summary.status == "accepted",
    }


def headline(summary: SummaryDocument, evaluated: EvaluateDocument | None) -> Headline:
    """Say in words how the run ended and why. A model is not shown as good if no minimum was set for it."""
    reasons = evaluated.reasons if evaluated else []
    gate = evaluated.gate if evaluated else None
    asked = gate is None or any(minimum is not None for minimum in vars(gate).values())
    tone = "good" if asked else "plain"
    unasked = "" if asked else " No minimum was set (gate.min_map50 and others): any score would have passed."
    if summary.register_:
        name, version = summary.register_.model_name, summary.register_.version
        aliases = f", alias {', '.join(summary.register_.aliases)}" if summary.register_.aliases else ""
        return Headline("Registered", f"{name}, version {version}{aliases}.{unasked}", tone, reasons if asked else [])
    if summary.error:
        if summary.rejected_by == "data":
            return Headline("Rejected", "The data gate refused the data, so nothing was trained on it.", "bad", [])
        return Headline("Failed", f"The run stopped in {summary.error.stage}.", "bad", [])
    if summary.status == "unchanged" and summary.unchanged:
        stands = f"Nothing was trained: {summary.unchanged.shown}, still stands."
        return Headline("Unchanged", stands, "plain", [summary.unchanged.why])
    if summary.rejected_by == "score":
        return Headline("Rejected", "The score gate turned this model down; it was not registered.", "warn", reasons)
    if summary.status == "accepted":
        words = f"Tracking is switched off, so the model is in no registry.{unasked}"
        return Headline("Accepted", words, tone, reasons if asked else [])
    if evaluated:
        return Headline("Accepted", f"Registration follows.{unasked}", tone, reasons if asked else [])
    return Headline("Unfinished", "This run has no verdict yet.", "warn", [])


def _confusion(matrix: ConfusionMatrix) -> list[tuple[str, list[Cell]]]:
    """Colour each count by its share of the row; the corner of background has no count."""
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
    """Describe each row of the confusion matrix by its commonest mistakes, for screens too narrow for the matrix."""
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


def _in_a_line(seen: Preflight) -> str:
    """Say what the machine had free before training, and what the training needed of it."""
    rooms = [
        ("memory", seen.memory_free_bytes, seen.memory_needed_bytes),
        ("shared memory", seen.shm_free_bytes, seen.shm_needed_bytes),
        ("disk", seen.disk_free_bytes, seen.disk_needed_bytes),
    ]
    parts = [f"{name} {size(need)} of {size(free)} free" for name, free, need in rooms if free is not None and need]
    if seen.all_reduce_gb_per_s is not None:
        parts.append(f"all-reduce over {seen.ranks} processes {seen.all_reduce_gb_per_s:.1f} GB/s")
    return f"needed {', '.join(parts)}, in {duration(seen.seconds)}"


def _gallery(document: SampleDocument, folder: Path) -> list[tuple[Any, str]]:
    """Pair each sample with its drawing as a data: URI."""
    return [(sample, _inline(folder / sample.file)) for sample in document.samples]


def _sheets(document: TrainDocument, folder: Path) -> list[tuple[str, str, str, str]]:
    """Return title, note, name and data: URI of each sheet that train drew and that is there."""
    found = []
    for name in document.sheets:
        known = SHEETS.get(Path(name).stem)
        if known and (folder / name).is_file():  # in a run on a cluster it may be gone from the store
            found.append((*known, name, _inline(folder / name, SHEET_SIDE)))
    return found


def _inline(path: Path, side: int = DRAWING_SIDE) -> str:
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB")
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
