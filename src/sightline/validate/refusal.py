"""Builds the error for a rejected source: issues of the whole set first, then the worst issues of each rule."""

from __future__ import annotations

from collections.abc import Sequence

from sightline.documents import DataDocument, RuleResult
from sightline.errors import DataError, DataRejected
from sightline.rules import RULES, Repair, rule_ids
from sightline.validate.repair.changes import LEFT_OUT

LISTED = 20  # errors that a message lists
LEAST_LEFT = 0.1  # of the images and of the boxes: with less in it, a repaired copy is of no use
# Problems of a whole set that only its owner can resolve.
OWNER_DECIDES = rule_ids(lambda rule: rule.repair is Repair.REFUSED)


def rejection(document: DataDocument, report: str) -> DataRejected | DataError:
    """Return the error for a rejected source: the rules that reject it, their worst issues, and where the report is.

    DataError is for a source that no rule rejects but that cannot be trained on.
    """
    name = document.source
    rejecting = [result for result in document.findings if result.rejected]
    if not rejecting:
        return DataError(f"{document.unusable} (report: {report})")
    lines = _lines(rejecting)
    count = sum(result.count for result in rejecting)
    by = ", ".join(f"{result.rule} {result.count}{_limit(result)}" for result in rejecting)
    undecided = any(result.rule in OWNER_DECIDES for result in rejecting)
    repairable = not undecided and not _little_repairable(document)
    repair = " (validate --fix OUT writes a copy with what can be repaired)" if repairable else ""
    return DataRejected(
        f"{name} has {count} error{'s' * (count > 1)} in labels or images: {by}. Nothing was stored. All of them, with "
        f"pictures: {report}{repair}",
        lines,
    )


def _lines(rejecting: Sequence[RuleResult]) -> list[str]:
    """Return the worst issues of each rule; a rule whose issues may follow from a reported cause takes one line."""
    rejected = {result.rule for result in rejecting}
    causes = {rule: cause for rule in rejected if (cause := RULES[rule].may_follow) in rejected}
    alone = [result for result in rejecting if result.rule not in causes]
    shares: dict[str, int] = {}  # lines per rule, so that no rule crowds out the others
    for place, result in enumerate(sorted(alone, key=lambda result: len(result.examples))):
        share = max((LISTED - sum(shares.values())) // (len(alone) - place), 1)
        shares[result.rule] = min(share, len(result.examples))
    lines: list[str] = []
    left = 0
    for result in rejecting:
        worst = [f"{example.where}: {example.message} [{result.rule}]" for example in result.examples]
        if result.rule in shares:
            lines += worst[: shares[result.rule]]
            left += result.count - shares[result.rule]
        else:
            lines.append(
                f"{result.rule} {result.count}, which may follow from {causes[result.rule]}, such as {worst[0]}"
            )
    return [*lines, f"… and {left} more"] if left else lines


def too_few(images: int, boxes: int, of_images: int, of_boxes: int) -> bool:
    """Tell whether so little is left of a set that a repaired copy is useless."""
    return images < LEAST_LEFT * of_images or boxes < LEAST_LEFT * of_boxes


def _little_repairable(document: DataDocument) -> bool:
    """Tell whether a repair would leave next to nothing, because most errors make it leave the image out."""
    images, boxes = (sum(getattr(part, what) for part in document.splits.values()) for what in ("images", "boxes"))
    rejecting = [result for result in document.findings if result.rejected]
    worst = max(rejecting, key=lambda result: result.count / max(result.of, 1))
    return worst.rule in LEFT_OUT and too_few(images, boxes, document.images, document.boxes)


def _limit(result: RuleResult) -> str:
    return f" ({result.allowed} of {result.of} allowed)" if result.allowed else ""
