"""The line charts of a run: how training went, and where the operating point lies."""

from __future__ import annotations

from sightline.documents import Curve, EvaluateDocument, ExportDocument, TrainDocument, decimals
from sightline.pages import attempts
from sightline.pages.svg import Chart, Line, round_up

RATES = (0.0, 1.0)


def training_charts(document: TrainDocument) -> list[Chart]:
    """Draw losses and val scores by epoch; nothing without a finished epoch."""
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
    breaks = [epoch + 0.5 for epoch in attempts.began(document)]
    note = " Thin lines are where training was resumed." if breaks else ""
    scores = [
        Line("mAP 50–95", epochs, [epoch.map50_95 for epoch in history], 1),
        Line("mAP 50", epochs, [epoch.map50 for epoch in history], 2),
    ]
    return [
        Chart(
            "Losses",
            f"Training and val, by epoch.{note}",
            losses,
            "epoch",
            x_range,
            (0.0, top),
            whole=True,
            breaks=breaks,
        ),
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
            breaks=breaks,
        ),
    ]


def _series(x: list[float], y: list[float | None], name: str, tone: int, dashed: bool = False) -> Line:
    known = [(a, b) for a, b in zip(x, y, strict=True) if b is not None]
    return Line(name, [a for a, _ in known], [b for _, b in known], tone, dashed)


def score_charts(document: EvaluateDocument, exported: ExportDocument | None) -> list[Chart]:
    """Draw precision against recall, and how the operating confidence was chosen."""
    note = f"Mean over classes at IoU 0.50, {document.split} split."
    recall = [_line("precision", document.curves.precision_recall, 1)]
    return [
        Chart("Precision against recall", note, recall, "recall", RATES, RATES),
        _confidence_chart(document, exported),
    ]


def _confidence_chart(document: EvaluateDocument, exported: ExportDocument | None) -> Chart:
    curves, split = document.curves, document.split
    # Where scores crowd below 1, all that matters lies at the right edge, so only that is drawn.
    low = 1 - 4 * (1 - document.confidence) if document.confidence > 0.98 else 0.0
    lines = [_line("precision", curves.precision, 1), _line("recall", curves.recall, 2), _line("F1", curves.f1, 3)]
    x_range = RATES
    mark: float | None = document.confidence
    if exported and not exported.confidence_f1:
        mark = None
        note = (
            "No operating point could be chosen: no labelled object was found on val at any confidence. The curves are "
            f"those of all boxes together on {split}. IoU 0.50."
        )
    elif exported and exported.f1_curve:
        x_range = (low, 1.0)
        lines = [
            _line("mean F1, val", exported.f1_curve, 3, start=low),
            _line(f"precision, {split}", curves.precision, 1, dashed=True, start=low),
            _line(f"recall, {split}", curves.recall, 2, dashed=True, start=low),
        ]
        note = (
            "The operating point is where F1 averaged over the classes is best on val (solid). Dashed: precision and "
            f"recall of all boxes together on {split}. IoU 0.50."
        )
    else:
        note = (
            "The operating point was chosen by F1 averaged over the classes on val, which this run did not keep. "
            f"Shown are all boxes together on {split}, whose F1 may be best elsewhere. IoU 0.50."
        )
    label = f"operating point {decimals(document.confidence)}"
    title = "Choosing a confidence"
    return Chart(title, note, lines, "confidence", x_range, RATES, mark=mark, mark_label=label)


def _line(name: str, curve: Curve, tone: int, *, dashed: bool = False, start: float = 0.0) -> Line:
    """Draw a curve of a document from the confidence `start` on."""
    points = [(x, y) for x, y in zip(curve.x, curve.y, strict=True) if x >= start - 1e-12]
    return Line(name, [x for x, _ in points], [y for _, y in points], tone, dashed)
