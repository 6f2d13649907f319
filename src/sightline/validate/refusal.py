"""The error for a source that is refused: what is wrong with the whole set first, then the worst of each rule."""

from __future__ import annotations

from collections.abc import Sequence

from sightline.documents import DataDocument, RuleResult
from sightline.errors import DataError, DataRejected
from sightline.rules import RULES, Repair, rule_ids
from sightline.validate.repair.changes import LEFT_OUT

LISTED = 20  # errors that a message lists
LEAST_LEFT = 0.1  # of the images and of the boxes: with less in it, a repaired copy is of no use
UNDECIDED = rule_ids(lambda rule: rule.repair is Repair.REFUSED)  # of a whole set: only its owner knows what is right


def refusal(document: DataDocument, report: str) -> DataRejected | DataError:
    """Return the error for a refused source: by which rules, the worst of what they found, and where all of it is.

    DataError is for a source that no rule refuses, and that cannot be trained on.
    """
    name = document.source
    refusing = [finding for finding in document.findings if finding.rejected]
    if not refusing:
        return DataError(f"{document.unusable} (report: {report})")
    lines = _lines(refusing)
    count = sum(finding.count for finding in refusing)
    by = ", ".join(f"{finding.rule} {finding.count}{_limit(finding)}" for finding in refusing)
    undecided = any(finding.rule in UNDECIDED for finding in refusing)
    repair = "" if undecided or _hopeless(document) else " (validate --fix OUT writes a copy with what can be repaired)"
    return DataRejected(
        f"{name} has {count} error{'s' * (count > 1)} in labels or images: {by}. Nothing was stored. All of them, with "
        f"pictures: {report}{repair}",
        lines,
    )


def _lines(refusing: Sequence[RuleResult]) -> list[str]:
    """Return the worst findings of each rule; what may follow from a cause takes one line for each rule."""
    refused = {finding.rule for finding in refusing}
    causes = {rule: cause for rule in refused if (cause := RULES[rule].may_follow) in refused}
    alone = [finding for finding in refusing if finding.rule not in causes]
    shares: dict[str, int] = {}  # of each rule some, so that none hides behind another
    for place, finding in enumerate(sorted(alone, key=lambda finding: len(finding.examples))):
        share = max((LISTED - sum(shares.values())) // (len(alone) - place), 1)
        shares[finding.rule] = min(share, len(finding.examples))
    lines: list[str] = []
    left = 0
    for finding in refusing:
        worst = [f"{example.where}: {example.message} [{finding.rule}]" for example in finding.examples]
        if finding.rule in shares:
            lines += worst[: shares[finding.rule]]
            left += finding.count - shares[finding.rule]
        else:
            lines.append(
                f"{finding.rule} {finding.count}, which may follow from {causes[finding.rule]}, such as {worst[0]}"
            )
    return [*lines, f"… and {left} more"] if left else lines


def too_few(images: int, boxes: int, of_images: int, of_boxes: int) -> bool:
    """Tell whether so little is left of a set that a copy of it is of no use."""
    return images < LEAST_LEFT * of_images or boxes < LEAST_LEFT * of_boxes


def _hopeless(document: DataDocument) -> bool:
    """Tell whether a repair would leave next to nothing: most errors are of a kind that leaves the image out."""
    images, boxes = (sum(getattr(part, what) for part in document.splits.values()) for what in ("images", "boxes"))
    worst = max((f for f in document.findings if f.rejected), key=lambda f: f.count / max(f.of, 1))
    return worst.rule in LEFT_OUT and too_few(images, boxes, document.images, document.boxes)


def _limit(finding: RuleResult) -> str:
    return f" ({finding.allowed} of {finding.of} allowed)" if finding.allowed else ""
