"""What a rule of the data gate is: its fields, and the words that they are shown in."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from enum import StrEnum
from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "off"]


class Scope(StrEnum):
    """What a rule is about. Of it follows what a budget is a share of."""

    IMAGE = "image"
    BOX = "box"
    SOURCE = "source"  # how the set is written down: its files, lists, paths and categories
    SET = "set"  # all of it, or all of a split or a class: a rule like this has no budget


class Handling(StrEnum):
    """What happens to what a rule finds (its scope) where the rule is a warning."""

    KEPT = "kept"  # it is used
    LEFT_OUT = "left out"
    FIRST_KEPT = "first kept"  # of several that are equal; the others are left out


class Repair(StrEnum):
    """What `--fix` does about what a rule finds."""

    NONE = "none"
    REFUSED = "refused"  # where the rule is an error, no copy is written
    WRITTEN = "written"  # put right by writing a copy of what was understood
    RENAMED = "renamed"  # `changes.csv` lists every new name of an image under file-name
    REENCODED = "re-encoded"  # the image file, where that can be done
    SAVED = "saved"  # the image file is re-encoded where that can be done, and left out elsewhere
    LEFT_OUT = "left out"  # the image, with all of its labels
    COPY_REMOVED = "copy removed"
    MOVED = "moved"  # the image, to the split of its copy


HANDLED = {Handling.KEPT: "kept", Handling.LEFT_OUT: "left out", Handling.FIRST_KEPT: "the first is kept"}  # in words
REPAIRED = {  # in words, with the rule's `change` in them
    Repair.NONE: "kept as it is",
    Repair.REFUSED: "as an error, nothing is written",
    Repair.WRITTEN: "{}",
    Repair.RENAMED: "renamed the image",
    Repair.REENCODED: "saved the image again",
    Repair.SAVED: "saved what could be saved, else {}",
    Repair.LEFT_OUT: "{}",
    Repair.COPY_REMOVED: "{}",
    Repair.MOVED: "moved the image to the split of its copy",
}


@dataclass(frozen=True)
class Rule:
    """One rule. All that the gate, `--fix`, the policies, the command line and the pages know of it is here."""

    id: str
    severity: Severity  # of the policy `default`
    finds: str
    why: str
    fix: str  # what a user can do
    _: KW_ONLY
    strict: Severity = "error"  # of the policy `strict`; a warning where it only says how a source was read
    tolerated: float | None = None  # share that the policy `default` drops before it refuses
    scope: Scope = Scope.IMAGE
    drops_image: bool = False  # of a box: without it, its image would teach that nothing is there
    handling: Handling = Handling.KEPT
    wording: str = ""  # of the handling, where more can be said than the words of HANDLED
    repair: Repair = Repair.NONE
    change: str = ""  # what `changes.csv` says of the repair, where that is the same for all that is found
    cause: bool = False  # single images and boxes may be wrong for this reason alone, so it is reported first
    may_follow: str | None = None  # the rule whose cause this may be an effect of
    compares: bool = False  # found by comparing images with each other
    unindexed: bool = False  # finds images that the index has no row of; they count as images all the same

    @property
    def budget_of(self) -> Literal["images", "boxes"] | None:
        """What `max_fraction` is a share of; None for a rule without a budget."""
        if self.scope is Scope.SET:
            return None
        return "boxes" if self.scope is Scope.BOX else "images"

    @property
    def drops(self) -> Literal["image", "box"] | None:
        """What quarantine removes of what it finds, where a policy tolerates some errors."""
        if self.scope is Scope.BOX:
            return "image" if self.drops_image else "box"
        return "image" if self.scope is Scope.IMAGE else None

    @property
    def removes(self) -> bool:
        """Whether what it finds is left out of training in any case, whatever the policy says."""
        return self.handling is not Handling.KEPT

    @property
    def handled(self) -> str:
        """What happens to what it finds where it is a warning, in words."""
        return self.wording or HANDLED[self.handling]

    @property
    def dropped(self) -> str:
        """What happens to what it finds where a policy tolerates some errors, in words."""
        return f"dropped the {self.drops}" if self.drops else self.handled

    @property
    def repaired(self) -> str:
        """What `--fix` does about it, in words."""
        return REPAIRED[self.repair].format(self.change)


class Issue(NamedTuple):
    """One thing that a rule found. `box` are the edges of the box it is about, fractions of the upright image."""

    rule: str
    where: str
    message: str
    box: tuple[float, float, float, float] | None = None  # x0, y0, x1, y1
    badness: float = 0.0  # orders the examples of a rule: the worst come first
