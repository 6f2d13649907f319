"""The types of the data gate: a rule with its typed fields and their wording, and an issue that a rule found."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from enum import StrEnum
from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "off"]


class Scope(StrEnum):
    """What a rule is about; this also decides whether its budget counts images or boxes."""

    IMAGE = "image"
    BOX = "box"
    SOURCE = "source"  # the files, lists, paths and categories that describe the set
    SET = "set"  # the whole set, a whole split or a whole class; such a rule has no budget


class Handling(StrEnum):
    """What happens to the images, boxes or files that a rule finds while it is a warning."""

    KEPT = "kept"  # they are used
    LEFT_OUT = "left out"
    FIRST_KEPT = "first kept"  # of several equal ones, the first; the others are left out


class Repair(StrEnum):
    """What `--fix` does about what a rule finds."""

    NONE = "none"
    REFUSED = "refused"  # while the rule is an error, no copy is written
    WRITTEN = "written"  # corrected because the copy is written from what was understood
    RENAMED = "renamed"  # the image file; `changes.csv` lists every new name under file-name
    REENCODED = "re-encoded"  # the image file, where that is possible
    SAVED = "saved"  # the image file is re-encoded where that is possible, otherwise left out
    LEFT_OUT = "left out"  # the image, with all of its labels
    COPY_REMOVED = "copy removed"
    MOVED = "moved"  # the image, to the split of its copy


# How messages and pages word a handling and a repair.
HANDLED = {Handling.KEPT: "kept", Handling.LEFT_OUT: "left out", Handling.FIRST_KEPT: "the first is kept"}
REPAIRED = {  # {} is the `change` of the rule
    Repair.NONE: "kept as it is",
    Repair.REFUSED: "as an error, nothing is written",
    Repair.WRITTEN: "{}",
    Repair.RENAMED: "renamed the image",
    Repair.REENCODED: "re-encoded the image",
    Repair.SAVED: "re-encoded the image where possible, otherwise {}",
    Repair.LEFT_OUT: "{}",
    Repair.COPY_REMOVED: "{}",
    Repair.MOVED: "moved the image to the split of its copy",
}


@dataclass(frozen=True)
class Rule:
    """A rule of the data gate.

    The gate, `--fix`, policies, command line and pages derive all that they do about a rule from these fields.
    """

    id: str
    severity: Severity  # in the policy `default`
    finds: str  # what the rule looks for
    why: str  # why it matters
    fix: str  # what a user can do about it
    _: KW_ONLY
    strict: Severity = "error"  # in the policy `strict`; a warning where the rule only says how a source was read
    tolerated: float | None = None  # share of errors that the policy `default` drops before it rejects the data
    scope: Scope = Scope.IMAGE
    drops_image: bool = False  # with scope BOX: drop the whole image, because without the box it would seem empty there
    handling: Handling = Handling.KEPT
    wording: str = ""  # of the handling, where HANDLED is not specific enough
    repair: Repair = Repair.NONE
    change: str = ""  # the repair in `changes.csv`, where it is the same for all issues of the rule
    cause: bool = False  # may be the cause of many other issues, so it is reported first
    may_follow: str | None = None  # the rule of the cause from which issues of this rule may follow
    compares: bool = False  # whether it compares images with each other
    unindexed: bool = False  # finds images without a row in the index; they are counted as images nevertheless

    @property
    def budget_unit(self) -> Literal["images", "boxes"] | None:
        """What `max_fraction` is a share of; None for a rule without a budget."""
        if self.scope is Scope.SET:
            return None
        return "boxes" if self.scope is Scope.BOX else "images"

    @property
    def drops(self) -> Literal["image", "box"] | None:
        """What quarantine drops for each tolerated error; None for nothing."""
        if self.scope is Scope.BOX:
            return "image" if self.drops_image else "box"
        return "image" if self.scope is Scope.IMAGE else None

    @property
    def removes(self) -> bool:
        """Whether what it finds is left out of training whatever the policy says."""
        return self.handling is not Handling.KEPT

    @property
    def handled(self) -> str:
        """What happens to what it finds while it is a warning, in words."""
        return self.wording or HANDLED[self.handling]

    @property
    def dropped(self) -> str:
        """What happens to what it finds when the policy tolerates the error, in words."""
        return f"dropped the {self.drops}" if self.drops else self.handled

    @property
    def repaired(self) -> str:
        """What `--fix` does about it, in words."""
        return REPAIRED[self.repair].format(self.change)


class Issue(NamedTuple):
    """One problem that a rule found."""

    rule: str  # id of the rule
    where: str  # file and line, annotation, split or set
    message: str  # what was found there
    box: tuple[float, float, float, float] | None = None  # x0, y0, x1, y1 as fractions of the upright image
    badness: float = 0.0  # orders the issues of a rule: the worst come first
