"""The gate: applies the policy to the issues.

A rule with more errors than its budget rejects the source; within the budget, what they are about is dropped.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sightline.config import RunConfig
from sightline.datasets.statistics import Statistics
from sightline.datasets.types import Reading
from sightline.documents import DataDocument, Example, RuleResult, Split, SplitCounts
from sightline.policy import Policy, Thresholds
from sightline.rules import RULES, Issue, rule_ids
from sightline.validate import sequence
from sightline.validate.index import Index, IndexedDataset
from sightline.validate.quarantine import Quarantine
from sightline.validate.refusal import OWNER_DECIDES

MAX_EXAMPLES = 20  # of a rule in the report
UNINDEXED = rule_ids(lambda rule: rule.unindexed)  # rules about images that have no row in the index
WHERE_BOXES = {  # where each format keeps its boxes
    "yolo": "In YOLO, labels lie in a folder `labels` beside `images`, or beside the images: one .txt for each image.",
    "coco": "In COCO, boxes are the entries of `annotations`, each with the image_id of an entry of `images`.",
    "voc": "In Pascal VOC, boxes are the <object> elements in the .xml of each image.",
}
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Judgement(NamedTuple):
    """The images and boxes that passed, and the data report."""

    dataset: IndexedDataset
    document: DataDocument


def judge(
    index: Index, reading: Reading, config: RunConfig, name: str, source: str, *, trainable: bool = True
) -> Judgement:
    """Apply the policy to the issues in the index of a scan.

    `name` is the name of the set in messages, `source` what the user gave. With `trainable`, missing splits are made,
    and a set with too few images or with a split without boxes is rejected even if no rule rejects it.
    """
    policy = config.data.policy
    quarantine = Quarantine(index, reading, policy, name, make_splits=trainable)
    dataset = sequence.run(index, reading, config.data.voc_origin, name, quarantine)
    statistics = Statistics(dataset.classes)
    counts = dataset.counts(statistics.add)
    with index.transaction():
        index.issues.add(None, _set_rules(counts, dataset.classes, policy.thresholds))
    totals = _totals(index)
    results = _rule_results(index, policy, totals)
    passed = {what: sum(getattr(part, what) for part in counts.values()) for what in totals}
    dropped = totals["images"] - passed["images"], index.images.usable_boxes() - passed["boxes"]
    unusable = quarantine.unusable
    if trainable and not unusable:
        unusable = _untrainable(name, reading.format, counts, dropped)
    severities = Counter[str]()
    for result in results:
        severities[result.severity] += result.count
    document = DataDocument(
        source=source,
        model_name=config.register_.model_name,
        format=reading.format,
        policy=policy,
        verdict="rejected" if unusable or any(result.rejected for result in results) else "accepted",
        unusable=unusable,
        classes=dataset.classes,
        images=totals["images"],
        boxes=totals["boxes"],
        errors=severities["error"],
        warnings=severities["warning"],
        dropped_images=dropped[0],
        dropped_boxes=dropped[1],
        splits=counts,
        split_rule=quarantine.split_rule,
        findings=results,
        distributions=statistics.distributions() if passed["images"] else None,
        shorter_side=statistics.counts("train").shorter_side,
        split_comparisons=statistics.split_comparisons(),
        seconds=0,
    )
    return Judgement(dataset, document)


def _totals(index: Index) -> dict[str, int]:
    """Count all images and boxes that the source names, including those that cannot be read."""
    images, boxes = index.images.totals()
    return {"images": images + index.issues.count_without_image(UNINDEXED), "boxes": boxes}


def _checked(rule: str, totals: dict[str, int]) -> int:
    """Return how many images or boxes a rule checked."""
    return totals[RULES[rule].budget_unit or "images"]


def _set_rules(counts: Mapping[Split, SplitCounts], classes: Sequence[str], thresholds: Thresholds) -> Iterator[Issue]:
    """Yield issues about the number of boxes of each class and of backgrounds in each split."""
    for split, part in counts.items():
        absent = [name for name in classes if not part.boxes_per_class[name]]
        if part.images:
            yield from (Issue("class-absent", split, f"has no box of '{name}'") for name in absent)
    train = counts["train"]
    most = max(train.boxes_per_class.values(), default=0)
    commonest = next((name for name, boxes in train.boxes_per_class.items() if boxes == most), "")
    for name, boxes in train.boxes_per_class.items():
        if 0 < boxes < thresholds.min_boxes:
            message = f"has {boxes} box{'es' * (boxes > 1)} of '{name}', expected at least {thresholds.min_boxes}"
            yield Issue("few-boxes", "train", message, badness=-boxes)
        if boxes and most > thresholds.max_imbalance * boxes:
            message = f"has {boxes} of '{name}' and {most} of '{commonest}', {most / boxes:.0f} times as many"
            yield Issue("class-imbalance", "train", message, badness=most / boxes)
    if train.backgrounds > thresholds.max_backgrounds * train.images:
        share = train.backgrounds / train.images
        message = f"has {train.backgrounds} of {train.images} images without a box ({share:.0%})"
        yield Issue("many-backgrounds", "train", message, badness=share)


def _rule_results(index: Index, policy: Policy, totals: dict[str, int]) -> list[RuleResult]:
    """Return a result for each rule: errors first, causes before what may follow from them, frequent issues first."""
    result = []
    for rule, count in index.issues.counts().items():
        setting = policy.setting(rule)
        if setting.severity == "off":
            continue
        rejected = setting.exceeded(count, _checked(rule, totals))
        result.append(
            RuleResult(
                rule=rule,
                severity=setting.severity,
                count=count,
                of=_checked(rule, totals),
                max_count=setting.max_count,
                max_fraction=setting.max_fraction,
                rejected=rejected,
                handling=handling(rule, setting.severity, rejected),
                examples=list(_examples(index, rule, MAX_EXAMPLES)),
            )
        )
    return sorted(result, key=_rank)


def _rank(result: RuleResult) -> tuple[str, bool, bool, bool, int, str]:
    undecided, cause = result.rule in OWNER_DECIDES, RULES[result.rule].cause
    return result.severity, not result.rejected, not undecided, not cause, -result.count, result.rule


def handling(rule: str, severity: str, rejected: bool) -> str:
    """Return what happens to what a rule found, in words."""
    if rejected:
        return "rejected"
    return RULES[rule].dropped if severity == "error" else RULES[rule].handled


def _examples(index: Index, rule: str, most: int | None = None) -> Iterator[Example]:
    """Yield the issues of a rule, the worst first; all of them, or at most `most`."""
    for issue in index.issues.examples(rule, most):
        box = json.loads(issue.box) if issue.box else None
        yield Example(where=issue.place, message=issue.message, image=issue.source, box=box)


def write_csv(index: Index, results: Sequence[RuleResult], path: Path) -> None:
    """Write every issue as a row of a CSV file, rule by rule in the order of the report."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("rule", "severity", "where", "message", "image", "x0", "y0", "x1", "y1", "handling"))
        for result in results:
            for example in _examples(index, result.rule):
                box = example.box or ("",) * 4
                texts = (example.where, example.message, example.image or "")
                row = (result.rule, result.severity, *map(csv_cell, texts))
                writer.writerow((*row, *box, result.handling))


def csv_cell(text: str) -> str:
    """Return a text for a CSV cell that a spreadsheet does not take for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _untrainable(name: str, format: str, counts: Mapping[Split, SplitCounts], dropped: tuple[int, int]) -> str | None:
    """Return a message about splits without a box, None if all have some; each of the three needs boxes."""
    gone = f" {dropped[0]} images and {dropped[1]} boxes were left out, see the report." if any(dropped) else ""
    if not any(part.images for part in counts.values()):
        return f"{name} holds no images that {format} annotations refer to.{gone}"
    empty = [f"{split} split ({part.images} images)" for split, part in counts.items() if not part.boxes]
    if not empty:
        return None
    return f"{name} has no box in its {', '.join(empty)}; expected labelled objects. {WHERE_BOXES[format]}{gone}"
