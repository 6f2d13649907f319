"""What a repair does about issues, in the index: images are removed, moved to another split, or saved again.

Only what has one right answer is repaired: boxes are clipped, those without area and repeated ones go, leaked copies
leave the held-out split, images that can be saved are saved. An image with an object that cannot be read is left
out whole: without that object it would teach that nothing is there. So is one that has two versions of its labels.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from sightline.datasets.types import Reading
from sightline.errors import DataError
from sightline.image_files import images as pictures
from sightline.policy import Policy
from sightline.rules import Repair, rule_ids
from sightline.snapshots.file_names import plain_name
from sightline.validate import splits
from sightline.validate.checks import class_names, cross_image
from sightline.validate.checks.similarity import CLOSER
from sightline.validate.index import Index
from sightline.validate.refusal import LISTED, OWNER_DECIDES
from sightline.validate.repair import image_bytes
from sightline.validate.repair.changes import COPIES, LEFT_OUT, WRITTEN, Change
from sightline.validate.sequence import Numbers

MOVED = rule_ids(lambda rule: rule.repair is Repair.MOVED)
IMAGES = rule_ids(lambda rule: rule.repair is Repair.REENCODED)


class RepairTreatment:
    """The treatment of a repair. `of` and `left` count images and boxes, before and after some are left out."""

    def __init__(self, index: Index, reading: Reading, policy: Policy, name: str) -> None:
        """Treat the set of this name, of which the index is changed as the copy is."""
        self.index, self.reading, self.policy, self.name = index, reading, policy, name
        self.omitted: dict[int, set[int]] = {}
        self.of = self.left = (0, 0)
        index.repairs.prepare()

    def images(self) -> None:
        """Remove images that cannot be repaired. Raises DataError where only the set's owner knows what is right."""
        self._check_decided()
        self.of = self.index.images.totals()
        with self.index.transaction():
            self._leave_out()
        self.left = self.index.images.totals()

    def copies(self) -> None:
        """Repair images that are left, and take copies apart."""
        repairs = self.index.repairs
        with self.index.transaction():
            repairs.note_issues("duplicate-image", "listed once", "place")
            for change in list(self._save_again()):
                repairs.note(change, change.where)
            while self._apart():  # what moves to another split may be a copy of something there
                pass
            repairs.remove_changes_of_removed()

    def classes(self, names: list[str], numbers: Numbers) -> tuple[list[str], Numbers]:
        """Make classes of nearly the same name one."""
        self.index.repairs.note_issues("similar-names", WRITTEN["similar-names"], "nothing")
        names, numbers, self.omitted = class_names.merge(self.index, names, numbers, self.policy.thresholds)
        return names, numbers

    def splits(self) -> None:
        """Let each image keep its split, train without one."""
        splits.assign(self.index, self.name, self.reading.declared, make=False)

    def _check_decided(self) -> None:
        """Refuse where a copy would only hide that a whole set is wrong. Raises DataError."""
        problems = [
            f"{issue.place}: {issue.message} [{issue.rule}]"
            for issue in self.index.issues.of_rules(OWNER_DECIDES)
            if self.policy.setting(issue.rule).severity == "error"
        ]
        if problems:
            raise DataError(
                "Nothing was written: what is wrong with the set as a whole has no single right answer. Correct it, or "
                "make it a warning in the policy if it is right as it stands:",
                problems[:LISTED],
            )

    def _leave_out(self) -> None:
        """Note what the copy has otherwise, and remove images from the index that cannot be repaired."""
        repairs = self.index.repairs
        for rule, change in WRITTEN.items():
            repairs.note_issues(rule, change, "image")
        for rule, change in LEFT_OUT.items():
            repairs.note_issues(rule, change, "nothing")
            repairs.remove_found(rule)
        # Listed twice, each time with labels of its own: the image is there once, with those that came first.
        repairs.remove_at_places("conflicting-labels")
        repairs.remove_unusable()

    def _apart(self) -> bool:
        """Remove copies, and move what leaks; tells whether anything moved."""
        repairs = self.index.repairs
        self.index.issues.remove_rules(cross_image.RULES)
        self.index.comparisons.remove_groups()
        repairs.remove_conflicting("conflicting-labels", LEFT_OUT["conflicting-labels"])
        cross_image.compare(self.index, self.policy, join_scenes=False)
        for rule, change in COPIES.items():
            repairs.note_issues(rule, change, "nothing")
            repairs.remove_found(rule)
        moved = [image for image in repairs.leaked(MOVED) if image.declared_split != image.earliest]
        for image in moved:
            repairs.move(image.id, image.earliest)
            text = f"moved the image from {image.declared_split} to {image.earliest or 'train'}"
            repairs.note(Change(image.rule, image.source, text), image.source)
        return bool(moved)

    def _save_again(self) -> Iterator[Change]:
        """Save images again that have something wrong with them, where that can be done."""
        for file in self.index.issues.files(IMAGES):
            path = os.fsdecode(file.path)
            stem, suffix = os.path.splitext(os.path.basename(path))
            try:
                saved = image_bytes.reencode(Path(path).read_bytes(), suffix)
            except (ValueError, OSError):
                continue  # it can be used as it is
            if saved is not None:
                plain, before = plain_name(stem), self.index.comparisons.compared([file.id])[file.id].sha256
                names = plain + saved[1], f"{plain}-{before[:8]}{saved[1]}"
                self.index.repairs.resave(file.id, hashlib.sha256(saved[0]).hexdigest(), *names)
                self._compared_as(file.id, saved[0])
                yield Change(file.rule, file.source, saved[2])

    def _compared_as(self, id: int, data: bytes) -> None:
        """Compare an image by what it is in the copy: transparency on white, or an end cut, may make it another's."""
        if self.index.repairs.has_thumbnail(id):
            self.index.repairs.replace_thumbnail(id, pictures.look(data, pictures.THUMB))
            self.index.comparisons.add_looks([(id, pictures.look(data, CLOSER))])
