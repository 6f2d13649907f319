"""The treatment of the gate: leaves out what errors are about, and makes the splits that the source lacks."""

from __future__ import annotations

from collections.abc import Iterable

from sightline.datasets.types import Reading, missing
from sightline.errors import DataError
from sightline.policy import Policy
from sightline.rules import RULES, Handling, Scope
from sightline.validate import splits
from sightline.validate.checks import cross_image
from sightline.validate.index import Index
from sightline.validate.sequence import Numbers


class Quarantine:
    """The treatment of the gate (see `sequence.Treatment`).

    `split_rule` says how missing splits were made, `unusable` why they could not be made; otherwise they are None.
    """

    def __init__(self, index: Index, reading: Reading, policy: Policy, name: str, *, make_splits: bool) -> None:
        """Prepare to treat the set of this name; without `make_splits` images keep the splits that they have."""
        self.index, self.reading, self.policy, self.name = index, reading, policy, name
        self.make_splits = make_splits
        self.omitted: dict[int, set[int]] = {}
        self.split_rule: str | None = None
        self.unusable: str | None = None

    def images(self) -> None:
        """Leave out the images and labels that errors so far are about."""
        self._leave_out(self.index.issues.rules())

    def copies(self) -> None:
        """Compare images with each other, and leave out those that the errors of this are about."""
        join_scenes = self.make_splits and bool(missing(self.reading.declared))
        with self.index.transaction():
            cross_image.compare(self.index, self.policy, join_scenes=join_scenes)
        self._leave_out(cross_image.RULES)

    def classes(self, names: list[str], numbers: Numbers) -> tuple[list[str], Numbers]:
        """Keep the classes as they are."""
        return names, numbers

    def splits(self) -> None:
        """Assign splits until no images that look the same lie in different splits made here."""
        try:
            self.split_rule = self._assign(self.make_splits)
            while self.split_rule and cross_image.join_across_splits(self.index, self.policy):
                self.split_rule = self._assign(self.make_splits)
        except DataError as error:
            self.unusable = error.message
            self._assign(make=False)

    def _assign(self, make: bool) -> str | None:
        return splits.assign(self.index, self.name, self.reading.declared, make=make)

    def _leave_out(self, rules: Iterable[str]) -> None:
        """Leave out the images and labels that errors of these rules are about."""
        with self.index.transaction():
            for rule in rules:
                severity, drops = self.policy.setting(rule).severity, RULES[rule].drops
                unusable = RULES[rule].scope is Scope.IMAGE and RULES[rule].handling is Handling.LEFT_OUT
                left_out = severity == "warning" and unusable
                if drops == "image" and (severity == "error" or left_out):
                    self.index.issues.drop_images(rule)
                elif drops == "box" and severity == "error":
                    for image, label in self.index.issues.labels_of(rule):
                        self.omitted.setdefault(image, set()).add(label)
