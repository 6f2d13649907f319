"""Reports on data sets, as validate gives them to its page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from sightline.datasets.statistics import Statistics
from sightline.datasets.types import Label, Sample
from sightline.documents import SPLITS, DataDocument, Example, RuleResult, SplitCounts
from sightline.policy import Policy
from sightline.rules import RULES

BOX = (0.25, 0.25, 0.75, 0.75)


def finding(rule: str, count: int = 3, **values: Any) -> RuleResult:
    """What a rule found; images and boxes as the rule has them."""
    severity = "error" if RULES[rule].severity == "error" else "warning"
    image = "a.jpg" if RULES[rule].drops else None
    box = BOX if RULES[rule].budget_unit == "boxes" else None
    examples = [
        Example(where=f"labels/{rule}.txt:{number}", message=f"was found by {rule}", image=image, box=box)
        for number in range(min(count, 20))
    ]
    standard = {"severity": severity, "count": count, "of": 1000, "max_count": None, "max_fraction": None}
    standard |= {"rejected": severity == "error", "handling": RULES[rule].handled, "examples": examples}
    return RuleResult(rule=rule, **standard | values)


def document(*findings: RuleResult, classes: list[str] | None = None, images: int = 30, **values: Any) -> DataDocument:
    """A report on a set with two boxes an image, classes in turn."""
    names = ["red", "white"] if classes is None else classes
    statistics = Statistics(names)
    boxes = {split: [0] * len(names) for split in SPLITS}
    for split in SPLITS:
        for number in range(images):
            labels: list[Label] = [((number + k) % len(names), 0.2 + 0.02 * number, 0.5, 0.1, 0.2) for k in range(2)]
            statistics.add(Sample(split, "a.jpg", "", "a.jpg", "0" * 64, 1, 640, 480, tuple(labels)))
            for label in labels:
                boxes[split][label[0]] += 1
    splits = {
        split: SplitCounts(
            images=images,
            boxes=sum(boxes[split]),
            backgrounds=0,
            boxes_per_class=dict(zip(names, boxes[split], strict=True)),
        )
        for split in SPLITS
    }
    counts = {kind: sum(item.count for item in findings if item.severity == kind) for kind in ("error", "warning")}
    standard = {
        "source": "/data/cells",
        "format": "yolo",
        "policy": Policy(),
        "verdict": "rejected" if any(item.rejected for item in findings) else "accepted",
        "unusable": None,
        "classes": names,
        "images": 3 * images,
        "boxes": 6 * images,
        "errors": counts["error"],
        "warnings": counts["warning"],
        "dropped_images": 0,
        "dropped_boxes": 0,
        "splits": splits,
        "split_rule": None,
        "findings": list(findings),
        "distributions": statistics.distributions(),
        "split_comparisons": statistics.split_comparisons(),
        "seconds": 1.0,
    }
    return DataDocument(**standard | values)


def draw(path: Path, size: tuple[int, int] = (400, 300), colour: tuple[int, int, int] = (120, 130, 140)) -> Path:
    Image.new("RGB", size, colour).save(path, quality=95)
    return path
