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
from sightline.datasets.types import Reading, missing
from sightline.documents import DataDocument, Example, RuleResult, Split, SplitCounts
from sightline.errors import DataError
from sightline.policy import Policy, Thresholds
from sightline.rules import OF_BOXES, RULES, Issue, dropped
from sightline.validate import canonical_layout, splits
from sightline.validate.checks import class_names, conventions, cross_image, pairing
from sightline.validate.index import COPY, LIVE, Index, IndexedDataset
from sightline.validate.refusal import UNDECIDED

SHOWN = 20  # examples of a rule in the report
NO_ITEM = ("unsupported-suffix", "missing-image")  # rules about images of which the index has no row
WHERE_BOXES = {  # where each format has what is missing
    "yolo": "In YOLO, labels lie in a folder `labels` beside `images`, or beside the images: one .txt for each image.",
    "coco": "In COCO, boxes are the entries of `annotations`, each with the image_id of an entry of `images`.",
    "voc": "In Pascal VOC, boxes are the <object> elements in the .xml of each image.",
}
# What is wrong with a whole set comes first: single boxes and images may be wrong for that reason alone.
CAUSES = (*UNDECIDED, "class-gap", "duplicate-name", "similar-names", "class-numbers")
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
    title = reading.folder.title if reading.folder else name
    link(index)
    pairing.find(index)
    omitted = _quarantine(index, policy)
    with index.together():
        cross_image.compare(index, policy, films=trainable and bool(missing(reading.declared)))
    omitted |= _quarantine(index, policy, cross_image.RULES)
    totals = _totals(index)
    classes, renumber = canonical_layout.number_classes(index, reading, config.data.voc_origin, title)
    split_rule, unusable = None, None
    try:
        split_rule = splits.assign(index, name, reading.declared, make=trainable)
        while split_rule and cross_image.torn(index, policy):
            split_rule = splits.assign(index, name, reading.declared, make=trainable)
    except DataError as error:
        unusable = error.message
        splits.assign(index, name, reading.declared, make=False)
    canonical_layout.name_images(index)
    dataset = IndexedDataset(index, classes, renumber, omitted)
    statistics = Statistics(classes)
    counts = dataset.counts(statistics.add)
    with index.together():
        index.add(None, [*_set_rules(counts, classes, policy.thresholds), *class_names.find(classes)])
        index.add(None, [*conventions.judge(index, reading.format, title)])
    findings = _findings(index, policy, totals)
    severities = Counter[str]()
    for finding in findings:
        severities[finding.severity] += finding.count
    passed = sum(part.images for part in counts.values())
    boxes = int(index.value(f"SELECT TOTAL(count) FROM item WHERE {LIVE}"))
    dropped = totals["images"] - passed, boxes - sum(part.boxes for part in counts.values())
    if trainable and not unusable:
        unusable = _untrainable(name, reading.format, counts, dropped)
    document = DataDocument(
        source=source,
        format=reading.format,
        policy=policy,
        verdict="rejected" if unusable or any(finding.rejected for finding in findings) else "accepted",
        unusable=unusable,
        classes=classes,
        images=totals["images"],
        boxes=totals["boxes"],
        errors=severities["error"],
        warnings=severities["warning"],
        dropped_images=dropped[0],
        dropped_boxes=dropped[1],
        splits=counts,
        split_rule=split_rule,
        findings=findings,
        distributions=statistics.distributions() if passed else None,
        split_comparisons=statistics.split_comparisons(),
        seconds=0,
    )
    return Judgement(dataset, document)


def link(index: Index) -> None:
    """Tell which image a finding is about that was made before images had numbers: of one in two splits, both.

    An image that is listed twice is not meant: it is there once, and stays.
    """
    columns = "rule, place, message, box, badness, label, lasting"
    about = f"item IS NULL AND rule NOT IN {COPY} AND place IN (SELECT source FROM item)"
    with index.together():
        index.rows(
            f"INSERT INTO problem SELECT found.id, {columns} FROM problem JOIN "
            f"(SELECT id, source FROM item) AS found ON found.source = place WHERE item IS NULL AND rule NOT IN {COPY}"
        )
        index.rows(f"DELETE FROM problem WHERE {about}")


def _totals(index: Index) -> dict[str, int]:
    """Count all images and boxes that the source names, also those that cannot be opened or read."""
    images = int(index.value("SELECT COUNT(*) FROM item"))
    gone = int(index.value("SELECT COUNT(*) FROM problem WHERE item IS NULL AND rule IN (?, ?)", NO_ITEM))
    return {"images": images + gone, "boxes": int(index.value("SELECT TOTAL(count) FROM item"))}


def _of(rule: str, totals: dict[str, int]) -> int:
    return totals["boxes" if rule in OF_BOXES else "images"]


def _quarantine(index: Index, policy: Policy, rules: Sequence[str] | None = None) -> dict[int, set[int]]:
    """Leave out the images that errors are about; returns the labels to leave out, by item."""
    omitted: dict[int, set[int]] = {}
    found = rules or [rule for (rule,) in index.rows("SELECT DISTINCT rule FROM problem")]
    with index.together():
        for rule in found:
            severity, drops = policy.of(rule).severity, RULES[rule].drops
            left_out = severity == "warning" and RULES[rule].handling == "left out"
            if drops == "image" and (severity == "error" or left_out):
                index.rows(
                    "UPDATE item SET dropped = ?1 WHERE dropped IS NULL AND id IN "
                    "(SELECT item FROM problem WHERE rule = ?1)",
                    (rule,),
                )
            elif drops == "box" and severity == "error":
                rows = index.rows("SELECT item, label FROM problem WHERE rule = ? AND label IS NOT NULL", (rule,))
                for item, label in rows:
                    omitted.setdefault(item, set()).add(label)
    return omitted


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
    for rule, count in index.rows("SELECT rule, COUNT(*) FROM problem GROUP BY 1").fetchall():
        setting = policy.of(rule)
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


def _rank(finding: RuleResult) -> tuple[str, bool, int, int, str]:
    cause = CAUSES.index(finding.rule) if finding.rule in CAUSES else len(CAUSES)
    return finding.severity, not finding.rejected, cause, -finding.count, finding.rule


def handling(rule: str, severity: str, rejected: bool) -> str:
    """Say what happens to what a rule found."""
    if rejected:
        return "refused"
    return dropped(RULES[rule]) if severity == "error" else RULES[rule].handling


def _examples(index: Index, rule: str, most: int) -> Iterator[Example]:
    """Yield findings of a rule, the worst first."""
    rows = index.rows(
        "SELECT place, message, item.source, box FROM problem LEFT JOIN item ON item.id = problem.item "
        "WHERE rule = ? ORDER BY badness DESC, place LIMIT ?",
        (rule, most),
    )
    for place, message, image, box in rows:
        yield Example(where=place, message=message, image=image, box=json.loads(box) if box else None)


def write_csv(index: Index, findings: Sequence[RuleResult], path: Path) -> None:
    """Write every problem as a row, rule by rule in the order of the report."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("rule", "severity", "where", "message", "image", "x0", "y0", "x1", "y1", "handling"))
        for finding in findings:
            for example in _examples(index, finding.rule, -1):
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
