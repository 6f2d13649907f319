"""The treatment of `--fix`: removes images from the index, moves them to another split, or re-encodes them.

Only issues with one right answer are repaired: boxes are clipped, boxes without area and repeated boxes are removed,
leaked copies leave the held-out split, images are re-encoded where possible. An image with an unreadable object is left
out as a whole, because without the object it would teach that nothing is there; so is an image with two versions of its
labels.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from sightline.datasets.types import Reading
from sightline.errors import DataError
from sightline.image_files import thumbnails
from sightline.policy import Policy
from sightline.rules import Repair, rule_ids
from sightline.snapshots.file_names import plain_name
from sightline.validate import splits
from sightline.validate.checks import class_names, cross_image
from sightline.validate.checks.similarity import CLOSER
from sightline.validate.index import Index
from sightline.validate.index.schema import COPY_RULES
from sightline.validate.refusal import LISTED, OWNER_DECIDES
from sightline.validate.repair import image_bytes
from sightline.validate.repair.changes import COPIES, LEFT_OUT, WRITTEN, Change
from sightline.validate.sequence import Numbers

MOVED = rule_ids(lambda rule: rule.repair is Repair.MOVED)
REENCODED = rule_ids(lambda rule: rule.repair is Repair.REENCODED)


class RepairTreatment:
    """The treatment of `--fix`. `before` and `after` count images and boxes before and after some are left out."""

    def __init__(self, index: Index, reading: Reading, policy: Policy, name: str) -> None:
        """Prepare to treat the set of this name; its index is changed to what the copy will be."""
        self.index, self.reading, self.policy, self.name = index, reading, policy, name
        self.omitted: dict[int, set[int]] = {}
        self.before = self.after = (0, 0)
        index.repairs.prepare()

    def images(self) -> None:
        """Remove images that cannot be repaired. Raises DataError for issues that only the owner can resolve."""
        self._check_decided()
        self.before = self.index.images.totals()
        with self.index.transaction():
            self._leave_out()
        self.after = self.index.images.totals()

    def copies(self) -> None:
        """Re-encode images, and separate copies."""
        repairs = self.index.repairs
        with self.index.transaction():
            repairs.note_issues("duplicate-image", "listed once", "place")
            for change in list(self._reencode()):
                repairs.note(change, change.where)
            while self._separate_copies():  # a moved image may be a copy of one in its new split
                pass
            repairs.remove_changes_of_removed()

    def classes(self, names: list[str], numbers: Numbers) -> tuple[list[str], Numbers]:
        """Merge classes with similar names."""
        self.index.repairs.note_issues("similar-names", WRITTEN["similar-names"], "nothing")
        names, numbers, self.omitted = class_names.merge(self.index, names, numbers, self.policy.thresholds)
        return names, numbers

    def splits(self) -> None:
        """Keep the declared split of each image; images without one become train."""
        splits.assign(self.index, self.name, self.reading.declared, make=False)

    def _check_decided(self) -> None:
        """Raise DataError where a copy would only hide that the whole set is wrong."""
        problems = [
            f"{issue.place}: {issue.message} [{issue.rule}]"
            for issue in self.index.issues.of_rules(OWNER_DECIDES)
            if self.policy.setting(issue.rule).severity == "error"
        ]
        if problems:
            raise DataError(
                "Nothing was written: the set as a whole has problems that only you can resolve. Correct them, or make "
                "the rules warnings in the policy if the data is correct:",
                problems[:LISTED],
            )

    def _leave_out(self) -> None:
        """Add the changes that writing the copy makes, and remove images that cannot be repaired from the index."""
        repairs = self.index.repairs
        for rule, change in WRITTEN.items():
            repairs.note_issues(rule, change, "image")
        for rule, change in LEFT_OUT.items():
            repairs.note_issues(rule, change, "nothing")
            repairs.remove_found(rule)
            if rule in COPY_RULES:  # an image that is listed twice is in the index once, with the first labels
                repairs.remove_at_places(rule)
        repairs.remove_unusable()

    def _separate_copies(self) -> bool:
        """Remove copies, and move leaked images to the earliest split; return whether any image moved."""
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

    def _reencode(self) -> Iterator[Change]:
        """Re-encode images with issues where possible, and yield the changes."""
        for file in self.index.issues.files(REENCODED):
            path = os.fsdecode(file.path)
            stem, suffix = os.path.splitext(os.path.basename(path))
            try:
                saved = image_bytes.reencode(Path(path).read_bytes(), suffix)
            except (ValueError, OSError):
                continue  # it stays as it is
            if saved is not None:
                plain, before = plain_name(stem), self.index.comparisons.compared([file.id])[file.id].sha256
                names = plain + saved.suffix, f"{plain}-{before[:8]}{saved.suffix}"
                self.index.repairs.resave(file.id, hashlib.sha256(saved.data).hexdigest(), *names)
                self._update_looks(file.id, saved.data)
                yield Change(file.rule, file.source, saved.change)

    def _update_looks(self, id: int, data: bytes) -> None:
        """Replace the thumbnail and close look of a re-encoded image, which may now be a copy of another one."""
        if self.index.repairs.has_thumbnail(id):
            self.index.repairs.replace_thumbnail(id, thumbnails.look(data, thumbnails.THUMB))
            self.index.comparisons.add_looks([(id, thumbnails.look(data, CLOSER))])
