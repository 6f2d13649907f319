"""The score gate: compares the measured scores with the configured minimums."""

from __future__ import annotations

from sightline.config import GateConfig
from sightline.documents import ClassScores, Verdict


def judge(
    gate: GateConfig,
    *,
    map50: float | None,
    map50_95: float | None,
    precision: float | None,
    recall: float | None,
    per_class: list[ClassScores],
) -> tuple[Verdict, list[str]]:
    """Return the verdict and one sentence per minimum, the failed ones first.

    A minimum also fails where its score does not exist (no samples, no detections).
    """
    seen = [scores for scores in per_class if scores.map50 is not None]
    weakest = min(seen, key=lambda scores: scores.map50 or 0.0, default=None)
    label = f"AP50 of the weakest class ({weakest.name})" if weakest else "AP50 of the weakest class"
    checks = [
        ("mAP50", map50, gate.min_map50),
        ("mAP50-95", map50_95, gate.min_map50_95),
        ("precision", precision, gate.min_precision),
        ("recall", recall, gate.min_recall),
        (label, weakest.map50 if weakest else None, gate.min_class_ap50),
    ]
    failed, passed = [], []
    if map50 is None:
        failed.append("the split holds no labelled object, so there is no score")
    for name, value, minimum in checks:
        if minimum is None:
            continue
        shown = "no value" if value is None else f"{value:.3f}"
        if value is None or value < minimum:
            failed.append(f"{name} {shown} is below the minimum {minimum:.3f}")
        else:
            passed.append(f"{name} {shown} reaches the minimum {minimum:.3f}")
    if failed:
        return "rejected", failed + passed
    return "accepted", passed or ["no minimum was configured, so every score passes (set gate.min_map50)"]
