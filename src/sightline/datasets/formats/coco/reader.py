"""COCO JSON: one file a split (`train/_annotations.coco.json`, `annotations/instances_val.json`), or one for all.

A box is [x, y, width, height] in pixels. Classes keep the order of their category ids; across files they are the same
class when they have the same name.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from sightline.datasets.formats.coco import json_stream
from sightline.datasets.formats.coco.annotation_files import named_split, unread
from sightline.datasets.formats.coco.json_stream import Record
from sightline.datasets.formats.coco.records import identity, shown_id
from sightline.datasets.formats.coco.table import Annotation, Image, Table
from sightline.datasets.formats.files import ALL_IMAGE_SUFFIXES, FOREIGN_SUFFIXES, names, short, suffix
from sightline.datasets.formats.image_lookup import ImageFinder, odd_files
from sightline.datasets.types import Box, Folder, ImageRecord, Parsed, Reading, split_of
from sightline.documents import Split
from sightline.errors import DataError
from sightline.image_files.images import IMAGE_SUFFIXES
from sightline.rules import Issue


def read(folder: Folder, files: list[Path]) -> Reading:
    """Read all files of a source. Raises DataError: broken JSON, or files whose splits contradict each other."""
    issues: list[Issue] = []
    table = Table()
    documents = [
        _Document(folder, path, split, number, table)
        for number, (path, split) in enumerate(_by_split(folder, files, issues).items())
    ]
    issues += unread(folder, files) if folder.file is None else ()
    table.ready()
    classes = _classes(documents, issues)
    for document in documents:
        issues += document.issues
        document.number_classes(classes)
    return Reading(
        "coco",
        classes,
        relative=False,
        records=lambda: _records(folder, documents, table),
        declared={split for document in documents for split in document.splits},
        issues=issues,
        part=folder.file is not None,
    )


def _by_split(folder: Folder, files: list[Path], issues: list[Issue]) -> dict[Path, Split | None]:
    """Tell the split of each file by its name, else by its folder's."""
    if folder.file:  # the one file that was named is all of the set, whatever split it is named after
        return dict.fromkeys(files)
    splits = {path: named_split(folder.root, path) for path in files}
    instances = [path for path in files if path.name.startswith("instances")]
    for path in files:  # COCO ships captions_* and person_keypoints_* beside instances_*: the same images again
        twin = any(splits[other] == splits[path] and other.parent == path.parent for other in instances)
        if path not in instances and twin:
            del splits[path]
    named: dict[Path, Split | None] = {path: split for path, split in splits.items() if split}
    for path in [path for path in splits if named and path not in named]:
        issues.append(Issue("unused-file", folder.relative(path), "belongs to no split by its name; left out"))
    chosen = named or splits
    doubled = [split for split, count in Counter(chosen.values()).items() if count > 1]
    if doubled:
        listed = ", ".join(folder.relative(path) for path, split in chosen.items() if split in doubled)
        what = f"for the split {doubled[0]}" if doubled[0] else "without a split in their names"
        raise DataError(
            f"{folder.name} holds several annotation files {what}: {listed}. Expected one. "
            "Name the one that is meant with --data, name them after splits (train.json), or remove the others."
        )
    return chosen


def _usable(identifier: Any) -> bool:
    """Tell what can be an id; NaN is not even equal to itself."""
    return type(identifier) in (int, float, str) and identifier == identifier


class _Document:
    """One annotation file. `splits` are its own, or those that the folders of all its images name."""

    def __init__(self, folder: Folder, path: Path, split: Split | None, file: int, table: Table) -> None:
        self.folder, self.split, self.file, self.table = folder, split, file, table
        self.where = folder.relative(path)
        self.named = f"{folder.name}/{self.where}"
        self.finder = ImageFinder(folder, path.parent, split, (path.stem.removeprefix("instances_"),))
        self.indices: dict[Any, int] = {}
        try:
            self._read(path, exact=False)
        except json_stream.NumberOverflow:
            table.forget(file)
            self._read(path, exact=True)
        self.splits = {split} if split else folder_splits(table.names(file))

    def _read(self, path: Path, *, exact: bool) -> None:
        self.categories: dict[Any, str] = {}  # names by id
        self.groups: set[str] = set()  # names that group others
        self.issues: list[Issue] = []
        for name, records in json_stream.lists(path, self.named, exact=exact):
            if name == "images":
                self.table.add_images(self.file, records)
            elif name == "annotations":
                self._note(*self.table.add_annotations(self.file, records))
            else:
                self._take_categories(records)

    def _note(self, crowds: int, masks: int) -> None:
        if crowds:
            message = f"{crowds} annotation{'s' * (crowds > 1)} with iscrowd left out"
            self.issues.append(Issue("crowd-region", self.where, message))
        if masks:
            message = f"{masks} annotation{'s' * (masks > 1)} with a segmentation or keypoints beside the box"
            self.issues.append(Issue("mask-ignored", self.where, f"{message}; the box is used"))

    def _take_categories(self, records: Iterable[Record]) -> None:
        first: dict[str, int] = {}
        numbers: dict[Any, int] = {}
        for number, record in enumerate(records):
            where = f"{self.where}: categories[{number}]"
            identifier, name = record.get("id"), record.get("name")
            if type(name) is int:
                name = str(name)
            if not isinstance(name, str) or not name.strip() or not _usable(identifier):
                raise DataError(
                    f"{self.named}: categories[{number}] is {short(json.dumps(record), 80)}; expected an id and a name."
                )
            identifier = identity(identifier)
            if identifier in numbers and self.categories[identifier] != name:
                raise DataError(
                    f"{self.named}: categories[{number}] and categories[{numbers[identifier]}] have the same id "
                    f"{shown_id(identifier)} and different names; expected an id for each class."
                )
            numbers.setdefault(identifier, number)
            if name in first:
                message = f"has the name '{name}', which categories[{first[name]}] has too; merged"
                self.issues.append(Issue("duplicate-name", where, message))
            first.setdefault(name, number)
            self.categories[identifier] = name
            group = record.get("supercategory")
            if isinstance(group, str) and group != name:
                self.groups.add(group)

    def number_classes(self, classes: list[str]) -> None:
        indices = {name: index for index, name in enumerate(classes)}
        self.indices = {identifier: indices[name] for identifier, name in self.categories.items() if name in indices}

    def records(self) -> Iterator[ImageRecord | Issue]:
        """Yield every image with its boxes; what cannot be used becomes an issue."""
        for number, image, count in self.table.lost(self.file):
            more = f"; {count - 1} more annotations refer to it" if count > 1 else ""
            message = f"refers to image {shown_id(image)}, which is not in images{more}"
            yield Issue("missing-image", f"{self.where}: annotations[{number}]", message)
        repeated, count = self.table.repeated(self.file)
        if count:
            more = f", and so do {count - 1} more" if count > 1 else ""
            message = f"has an id that an earlier annotation has too{more}; each box is used"
            yield Issue("repeated-number", f"{self.where}: annotations[{repeated}]", message)
        for row in self.table.images(self.file):
            yield from self._image(row)
        yield from self.finder.issues()

    def _image(self, row: Image) -> Iterator[ImageRecord | Issue]:
        where = f"{self.where}: images[{row.number}]"
        if row.name is None or row.id is None:
            what = "file_name" if row.name is None else "id"
            yield Issue("label-syntax", where, f"has no {what}; expected an id and a file_name")
            return
        image = self.finder.by_name(row.name, where)
        if image is None:
            message = f"image '{short(row.name)}' is not there{self.finder.why(row.name)}"
            yield Issue("missing-image", where, message)
            return
        self.table.use(*os.path.split(image))
        source = self.folder.relative(image)
        if row.other is None and row.same is not None:
            yield Issue("duplicate-image", source, "is listed more than once; it counts once")
            return
        if suffix(image) not in FOREIGN_SUFFIXES:  # `odd_files` reports those
            split = self.split or (folder_split(row.name) if self.splits else None)
            size = (row.width, row.height) if row.width and row.height else None
            # Of images that share an id the first has all annotations, so that they are counted; none is used.
            mine = row.other is None or row.number == row.first
            parsed = self._parsed(self.table.annotations(self.file, row.id) if mine else iter(()), size)
            if row.endless:
                message = f"has the {row.endless}; expected whole numbers of pixels"
                parsed = parsed._replace(issues=(*parsed.issues, Issue("size-mismatch", where, message)))
            if row.other is not None:
                message = f"has the id {shown_id(row.id)}, which images[{row.other}] has too"
                parsed = parsed._replace(issues=(*parsed.issues, Issue("duplicate-id", where, message)))
            yield ImageRecord(image, source, split, f"{self.where}: annotations[{{}}]", parsed=parsed)

    def _parsed(self, annotations: Iterator[Annotation], size: tuple[int, int] | None) -> Parsed:
        boxes, areas, issues = [], [], []
        for a in annotations:
            label = self.indices.get(a.category)
            where = f"{self.where}: annotations[{a.number}]"
            if label is None:
                message = f"has category {shown_id(a.category)}, which is not in categories"
                issues.append(Issue("class-range", where, message))
            elif a.rule:
                issues.append(Issue(a.rule, where, a.message))
            else:
                boxes.append(Box(label, (a.x0, a.y0, a.x1, a.y1), a.number))
                areas.append(a.area)
        return Parsed(tuple(boxes), size, tuple(issues), areas=tuple(areas))


def _records(folder: Folder, documents: list[_Document], table: Table) -> Iterator[ImageRecord | Issue]:
    for document in documents:
        yield from document.records()
    for place in table.folders():
        image_names = names(place, ALL_IMAGE_SUFFIXES)
        yield from odd_files(folder, place, image_names)
        if folder.file:  # of a larger set: other files have the other images
            continue
        for name in image_names:
            if name.lower().endswith(IMAGE_SUFFIXES) and not table.is_used(place, name):
                message = "is an image that no annotation file lists; left out"
                yield Issue("unused-file", folder.relative(f"{place}/{name}"), message)


def folder_splits(names: Iterable[str]) -> set[Split]:
    """Return the splits that images' folders name (`train/a.jpg`), if each image's does, or one of them is train."""
    found = set(map(folder_split, names))
    splits: set[Split] = {split for split in found if split}
    return splits if "train" in splits or None not in found else set()


def folder_split(name: str) -> Split | None:
    """Return the split that the folders in a file name mean: the innermost that does."""
    return _split_of_folders(name.replace("\\", "/").rpartition("/")[0])


@lru_cache(1024)
def _split_of_folders(path: str) -> Split | None:
    return next((split for part in reversed(path.split("/")) if (split := split_of(part))), None)


def _classes(documents: list[_Document], issues: list[Issue]) -> list[str]:
    """Return the class names; an unused category that only groups others is none of them."""
    groups = {group for document in documents for group in document.groups}
    ordered: dict[str, str] = {}
    used = set()
    for document in documents:
        by_id = sorted(document.categories.items(), key=lambda item: (isinstance(item[0], str), item[0]))
        for _, name in by_id:
            ordered.setdefault(name, document.where)
        ids = document.table.categories(document.file)
        used |= {document.categories[identifier] for identifier in ids if identifier in document.categories}
    for name in [name for name in ordered if name in groups and name not in used]:
        message = f"the category '{name}' has no boxes and groups others by name; left out of the classes"
        issues.append(Issue("grouping-class", ordered.pop(name), message))
    return list(ordered)
