"""The gate: what the rules found, taken as the policy says. Over budget the source is refused; under it items go."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sightline.artifacts import SPLITS, DataDocument, Example, Finding, Split, SplitCounts
from sightline.config import RunConfig
from sightline.errors import DataError, DataRejected
from sightline.policy import Policy, Thresholds
from sightline.rules import OF_BOXES, RULES, dropped
from sightline.validate import across, layout, splits
from sightline.validate.dataset import SYNONYMS, Found, Reading
from sightline.validate.index import LIVE, Index, IndexedDataset
from sightline.validate.scan import add
from sightline.validate.statistics import Statistics

SHOWN = 20  # errors that a message lists, and examples of a rule in the report


class Judgement(NamedTuple):
    """What passed, and the report on everything."""

    dataset: IndexedDataset
    document: DataDocument


def judge(
    index: Index, reading: Reading, config: RunConfig, name: str, source: str, *, trainable: bool = True
) -> Judgement:
    """Apply the policy to what a scan left in the index.

    `trainable` makes missing splits, and raises DataError for a set that cannot be trained on although no rule refuses
    it: too few images, a split without boxes.
    """
    policy = config.data.policy
    link(index)
    across.compare(index, policy)
    totals = {
        "images": int(index.value("SELECT COUNT(*) FROM item")),
        "boxes": int(index.value("SELECT TOTAL(count) FROM item")),
    }
    refused = _over_budget(index, policy, totals)
    omitted = _quarantine(index, policy)
    classes, renumber = layout.number_classes(index, reading, config.data.voc_origin)
    try:
        split_rule = splits.assign(index, name, reading.declared, make=trainable)
    except DataError:
        if not refused:
            raise
        split_rule = splits.assign(index, name, reading.declared, make=False)
    layout.name_images(index)
    dataset = IndexedDataset(index, classes, renumber, omitted)
    statistics = Statistics(classes)
    counts = _count(dataset, statistics)
    with index.together():
        add(index, None, _set_rules(counts, classes, policy.thresholds))
    findings = _findings(index, policy, totals)
    if trainable and not any(finding.rejected for finding in findings):
        _check_trainable(name, reading.format, counts)
    severities = Counter[str]()
    for finding in findings:
        severities[finding.severity] += finding.count
    document = DataDocument(
        source=source,
        format=reading.format,
        policy=policy,
        verdict="rejected" if any(finding.rejected for finding in findings) else "passed",
        classes=classes,
        images=totals["images"],
        boxes=totals["boxes"],
        errors=severities["error"],
        warnings=severities["warning"],
        dropped_images=_dropped_images(index, policy),
        dropped_boxes=_dropped_boxes(index, policy),
        splits=counts,
        split_rule=split_rule,
        findings=findings,
        distributions=statistics.distributions() if any(part.images for part in counts.values()) else None,
        drift=statistics.drift(),
        seconds=0,
    )
    return Judgement(dataset, document)


def link(index: Index) -> None:
    """Tell which image a finding is about that was made before images had numbers."""
    with index.together():
        index.rows(
            "UPDATE problem SET item = item.id FROM item WHERE problem.item IS NULL AND item.source = problem.place"
        )


def _over_budget(index: Index, policy: Policy, totals: dict[str, int]) -> list[str]:
    counts = index.rows("SELECT rule, COUNT(*) FROM problem GROUP BY 1").fetchall()
    return [rule for rule, count in counts if policy.of(rule).exceeded(count, _of(rule, totals))]


def _of(rule: str, totals: dict[str, int]) -> int:
    return totals["boxes" if rule in OF_BOXES else "images"]


def _quarantine(index: Index, policy: Policy) -> dict[int, set[int]]:
    """Leave out the images that errors are about; returns the labels to leave out, by item."""
    omitted: dict[int, set[int]] = {}
    with index.together():
        for (rule,) in index.rows("SELECT DISTINCT rule FROM problem").fetchall():
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


def _dropped_images(index: Index, policy: Policy) -> int:
    rows = index.rows("SELECT dropped, COUNT(*) FROM item WHERE dropped IS NOT NULL GROUP BY 1").fetchall()
    dropped = sum(count for rule, count in rows if policy.of(rule).severity == "error")
    unusable = int(index.value("SELECT COUNT(*) FROM item WHERE sha256 IS NULL AND dropped IS NULL"))
    return int(dropped) + unusable


def _dropped_boxes(index: Index, policy: Policy) -> int:
    rows = index.rows(
        f"SELECT rule, COUNT(*) FROM problem JOIN item ON item.id = problem.item WHERE {LIVE} GROUP BY 1"
    ).fetchall()
    return sum(count for rule, count in rows if RULES[rule].drops == "box" and policy.of(rule).severity == "error")


def _count(dataset: IndexedDataset, statistics: Statistics) -> dict[Split, SplitCounts]:
    """Go over what passed once: count it, and let the statistics see it."""
    images, backgrounds = Counter[str](), Counter[str]()
    boxes: dict[str, list[int]] = {split: [0] * len(dataset.classes) for split in SPLITS}
    for sample in dataset.samples():
        images[sample.split] += 1
        backgrounds[sample.split] += not sample.labels
        own = boxes[sample.split]
        for label in sample.labels:
            own[label[0]] += 1
        statistics.add(sample)
    return {
        split: SplitCounts(
            images=images[split],
            boxes=sum(boxes[split]),
            backgrounds=backgrounds[split],
            boxes_per_class=dict(zip(dataset.classes, boxes[split], strict=True)),
        )
        for split in SYNONYMS
    }


def _set_rules(counts: Mapping[Split, SplitCounts], classes: Sequence[str], thresholds: Thresholds) -> Iterator[Found]:
    """Judge what each split holds of each class."""
    for split, part in counts.items():
        absent = [name for name in classes if not part.boxes_per_class[name]]
        if part.images:
            yield from (Found("class-absent", split, f"has no box of '{name}'") for name in absent)
    train = counts["train"]
    most = max(train.boxes_per_class.values(), default=0)
    commonest = next((name for name, boxes in train.boxes_per_class.items() if boxes == most), "")
    for name, boxes in train.boxes_per_class.items():
        if 0 < boxes < thresholds.min_boxes:
            message = f"has {boxes} box{'es' * (boxes > 1)} of '{name}', expected at least {thresholds.min_boxes}"
            yield Found("few-boxes", "train", message, badness=-boxes)
        if boxes and most > thresholds.max_imbalance * boxes:
            message = f"has {boxes} of '{name}' and {most} of '{commonest}', {most / boxes:.0f} times as many"
            yield Found("class-imbalance", "train", message, badness=most / boxes)
    if train.backgrounds > thresholds.max_backgrounds * train.images:
        share = train.backgrounds / train.images
        message = f"has {train.backgrounds} of {train.images} images without a box ({share:.0%})"
        yield Found("many-backgrounds", "train", message, badness=share)


def _findings(index: Index, policy: Policy, totals: dict[str, int]) -> list[Finding]:
    """Sum up rule by rule: errors first, what is found most often first."""
    result = []
    for rule, count in index.rows("SELECT rule, COUNT(*) FROM problem GROUP BY 1").fetchall():
        setting = policy.of(rule)
        if setting.severity == "off":
            continue
        rejected = setting.exceeded(count, _of(rule, totals))
        result.append(
            Finding(
                rule=rule,
                severity=setting.severity,
                count=count,
                of=_of(rule, totals),
                max_count=setting.max_count,
                max_fraction=setting.max_fraction,
                rejected=rejected,
                handling=handling(rule, setting.severity, rejected),
                examples=[example for _, example in _examples(index, rule, SHOWN)],
            )
        )
    return sorted(result, key=lambda finding: (finding.severity, not finding.rejected, -finding.count, finding.rule))


def handling(rule: str, severity: str, rejected: bool) -> str:
    """Say what happens to what a rule found."""
    if rejected:
        return "refused"
    return dropped(RULES[rule]) if severity == "error" else RULES[rule].handling


def _examples(index: Index, rule: str, most: int) -> Iterator[tuple[str, Example]]:
    """Yield findings of a rule, the worst first, each with the rule's name."""
    rows = index.rows(
        "SELECT problem.rule, place, message, item.source, box FROM problem LEFT JOIN item ON item.id = problem.item "
        "WHERE rule = ? ORDER BY badness DESC, place LIMIT ?",
        (rule, most),
    )
    for found, place, message, image, box in rows:
        yield found, Example(where=place, message=message, image=image, box=json.loads(box) if box else None)


def write_csv(index: Index, findings: Sequence[Finding], path: Path) -> None:
    """Write every problem as a row, rule by rule in the order of the report."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("rule", "severity", "where", "message", "image", "x0", "y0", "x1", "y1", "handling"))
        for finding in findings:
            for _, example in _examples(index, finding.rule, -1):
                box = example.box or ("",) * 4
                row = (finding.rule, finding.severity, example.where, example.message, example.image or "")
                writer.writerow((*row, *box, finding.handling))


def _check_trainable(name: str, format: str, counts: Mapping[Split, SplitCounts]) -> None:
    """Raise DataError if a split has no box: train learns from boxes, val chooses by them, test scores on them."""
    if not any(part.images for part in counts.values()):
        raise DataError(f"{name} holds no images that {format} annotations speak of.")
    for split, part in counts.items():
        if not part.boxes:
            raise DataError(
                f"{name} has no box in its {split} split ({part.images} images); expected labelled objects. "
                "In YOLO, labels lie in a folder `labels` beside `images`, a .txt an image."
            )


def rejection(name: str, document: DataDocument, report: str) -> DataRejected:
    """Return the error for a refused source: by which rules, the worst of what they found, and where all of it is."""
    refusing = [finding for finding in document.findings if finding.rejected]
    lines = [
        f"{example.where}: {example.message} [{finding.rule}]" for finding in refusing for example in finding.examples
    ][:SHOWN]
    count = sum(finding.count for finding in refusing)
    if count > len(lines):
        lines.append(f"… and {count - len(lines)} more")
    by = ", ".join(f"{finding.rule} {finding.count}{_limit(finding)}" for finding in refusing)
    return DataRejected(
        f"{name} has {count} error{'s' * (count > 1)} in labels or images: {by}. Nothing was stored. All of them, with "
        f"pictures: {report} (validate --fix OUT writes a copy with what can be repaired)",
        lines,
    )


def _limit(finding: Finding) -> str:
    """Say what would have been tolerated, if anything."""
    limits = []
    if finding.max_count is not None:
        limits.append(f"{finding.max_count}")
    if finding.max_fraction is not None:
        limits.append(f"{finding.max_fraction:.3g} of {finding.of}")
    return f" (tolerated: {' and '.join(limits)})" if limits else ""
