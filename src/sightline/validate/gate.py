"""The gate: what the rules found, taken as the policy says. Over budget the source is refused; under it items go."""

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
from sightline.validate.refusal import UNDECIDED

SHOWN = 20  # examples of a rule in the report
NO_ITEM = rule_ids(lambda rule: rule.unindexed)  # rules about images of which the index has no row
WHERE_BOXES = {  # where each format has what is missing
    "yolo": "In YOLO, labels lie in a folder `labels` beside `images`, or beside the images: one .txt for each image.",
    "coco": "In COCO, boxes are the entries of `annotations`, each with the image_id of an entry of `images`.",
    "voc": "In Pascal VOC, boxes are the <object> elements in the .xml of each image.",
}
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Judgement(NamedTuple):
    """What passed, and the report on everything."""

    dataset: IndexedDataset
    document: DataDocument


def judge(
    index: Index, reading: Reading, config: RunConfig, name: str, source: str, *, trainable: bool = True
) -> Judgement:
    """Apply the policy to what a scan left in the index.

    `trainable` makes missing splits, and refuses a set that cannot be trained on although no rule refuses it: too few
    images, a split without boxes.
    """
    policy = config.data.policy
    quarantine = Quarantine(index, reading, policy, name, make_splits=trainable)
    dataset = sequence.run(index, reading, config.data.voc_origin, name, quarantine)
    statistics = Statistics(dataset.classes)
    counts = dataset.counts(statistics.add)
    with index.together():
        index.issues.add(None, _set_rules(counts, dataset.classes, policy.thresholds))
    totals = _totals(index)
    findings = _findings(index, policy, totals)
    passed = {what: sum(getattr(part, what) for part in counts.values()) for what in totals}
    dropped = totals["images"] - passed["images"], index.images.usable_boxes() - passed["boxes"]
    unusable = quarantine.unusable
    if trainable and not unusable:
        unusable = _untrainable(name, reading.format, counts, dropped)
    severities = Counter[str]()
    for finding in findings:
        severities[finding.severity] += finding.count
    document = DataDocument(
        source=source,
        format=reading.format,
        policy=policy,
        verdict="rejected" if unusable or any(finding.rejected for finding in findings) else "accepted",
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
        findings=findings,
        distributions=statistics.distributions() if passed["images"] else None,
        split_comparisons=statistics.split_comparisons(),
        seconds=0,
    )
    return Judgement(dataset, document)


def _totals(index: Index) -> dict[str, int]:
    """Count all images and boxes that the source names, also those that cannot be opened or read."""
    images, boxes = index.images.totals()
    return {"images": images + index.issues.count_without_image(NO_ITEM), "boxes": boxes}


def _of(rule: str, totals: dict[str, int]) -> int:
    return totals[RULES[rule].budget_unit or "images"]


def _set_rules(counts: Mapping[Split, SplitCounts], classes: Sequence[str], thresholds: Thresholds) -> Iterator[Issue]:
    """Judge what each split holds of each class."""
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


def _findings(index: Index, policy: Policy, totals: dict[str, int]) -> list[RuleResult]:
    """Sum up rule by rule: errors first, causes before what may follow from them, what is found most often first."""
    result = []
    for rule, count in index.issues.counts().items():
        setting = policy.setting(rule)
        if setting.severity == "off":
            continue
        rejected = setting.exceeded(count, _of(rule, totals))
        result.append(
            RuleResult(
                rule=rule,
                severity=setting.severity,
                count=count,
                of=_of(rule, totals),
                max_count=setting.max_count,
                max_fraction=setting.max_fraction,
                rejected=rejected,
                handling=handling(rule, setting.severity, rejected),
                examples=list(_examples(index, rule, SHOWN)),
            )
        )
    return sorted(result, key=_rank)


def _rank(finding: RuleResult) -> tuple[str, bool, bool, bool, int, str]:
    undecided, cause = finding.rule in UNDECIDED, RULES[finding.rule].cause
    return finding.severity, not finding.rejected, not undecided, not cause, -finding.count, finding.rule


def handling(rule: str, severity: str, rejected: bool) -> str:
    """Say what happens to what a rule found."""
    if rejected:
        return "refused"
    return RULES[rule].dropped if severity == "error" else RULES[rule].handled


def _examples(index: Index, rule: str, most: int | None = None) -> Iterator[Example]:
    """Yield findings of a rule, the worst first; all of them, or `most`."""
    for issue in index.issues.examples(rule, most):
        box = json.loads(issue.box) if issue.box else None
        yield Example(where=issue.place, message=issue.message, image=issue.source, box=box)


def write_csv(index: Index, findings: Sequence[RuleResult], path: Path) -> None:
    """Write every problem as a row, rule by rule in the order of the report."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("rule", "severity", "where", "message", "image", "x0", "y0", "x1", "y1", "handling"))
        for finding in findings:
            for example in _examples(index, finding.rule):
                box = example.box or ("",) * 4
                texts = (example.where, example.message, example.image or "")
                row = (finding.rule, finding.severity, *map(cell, texts))
                writer.writerow((*row, *box, finding.handling))


def cell(text: str) -> str:
    """Keep a spreadsheet from taking a file's name for a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _untrainable(name: str, format: str, counts: Mapping[Split, SplitCounts], dropped: tuple[int, int]) -> str | None:
    """Say which split has no box: train learns from boxes, val chooses by them, test scores on them."""
    gone = f" {dropped[0]} images and {dropped[1]} boxes were left out, see the report." if any(dropped) else ""
    if not any(part.images for part in counts.values()):
        return f"{name} holds no images that {format} annotations refer to.{gone}"
    empty = [f"{split} split ({part.images} images)" for split, part in counts.items() if not part.boxes]
    if not empty:
        return None
    return f"{name} has no box in its {', '.join(empty)}; expected labelled objects. {WHERE_BOXES[format]}{gone}"
