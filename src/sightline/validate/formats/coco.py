"""COCO JSON: one file a split (`train/_annotations.coco.json`, `annotations/instances_val.json`), or one for all.

A box is [x, y, width, height] in pixels. Classes keep the order of their category ids; across files they are the same
class when they have the same name.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sightline.artifacts import Problem, Split
from sightline.errors import DataError
from sightline.validate.dataset import Box, Folder, Item, Reading, error, files, folders, split_of, warning
from sightline.validate.formats.images import ImageFinder

LISTS = ("images", "annotations", "categories")
DEPTH = 2  # folders below the source: one that wraps everything, and one per split


def find(root: Path) -> list[Path]:
    """Return the files that look like COCO annotations, judged by the three lists they mention."""
    return [path for folder in folders(root, DEPTH) for path in files(folder, (".json",)) if _looks_like_coco(path)]


def _looks_like_coco(path: Path) -> bool:
    data = path.read_bytes()
    return all(f'"{name}"'.encode() in data for name in LISTS)


def read(folder: Folder, found: list[Path]) -> Reading:
    """Read all files of a source. Raises DataError: broken JSON, or files whose splits contradict each other."""
    reading = Reading("coco", [], relative=False)
    documents = [
        _Document(folder, path, split, _load(folder, path))
        for path, split in _by_split(folder, found, reading.problems).items()
    ]
    reading.classes = _classes(documents)
    for document in documents:
        if document.split:
            reading.declared.add(document.split)
        reading.items += document.items(reading.problems)
    return reading


def _by_split(folder: Folder, found: list[Path], problems: list[Problem]) -> dict[Path, Split | None]:
    """Tell the split of each file by its name, else by its folder's."""
    splits = {path: split_of(path.stem) or split_of(_folder_name(folder.root, path)) for path in found}
    instances = [path for path in found if path.name.startswith("instances")]
    for path in found:  # COCO ships captions_* and person_keypoints_* beside instances_*: the same images again
        twin = any(splits[other] == splits[path] and other.parent == path.parent for other in instances)
        if path not in instances and twin:
            del splits[path]
    named: dict[Path, Split | None] = {path: split for path, split in splits.items() if split}
    for path in [path for path in splits if named and path not in named]:
        problems.append(warning("unused-file", folder.relative(path), "belongs to no split by its name; left out"))
    chosen = named or splits
    doubled = [split for split, count in Counter(chosen.values()).items() if count > 1]
    if doubled:
        listed = ", ".join(folder.relative(path) for path, split in chosen.items() if split in doubled)
        what = f"for the split {doubled[0]}" if doubled[0] else "without a split in their names"
        raise DataError(
            f"{folder.name} holds several annotation files {what}: {listed}. Expected one; remove the others."
        )
    return chosen


def _folder_name(root: Path, path: Path) -> str:
    return path.parent.name if path.parent != root else ""


def _load(folder: Folder, path: Path) -> dict[str, Any]:
    where = f"{folder.name}/{folder.relative(path)}"
    try:
        values = json.loads(path.read_bytes())
    except json.JSONDecodeError as problem:
        raise DataError(f"{where}:{problem.lineno}: not JSON: {problem.msg} at column {problem.colno}.") from None
    except (UnicodeDecodeError, RecursionError) as problem:
        raise DataError(f"{where} is not JSON: {problem}.") from None
    for name in LISTS:
        entries = values.get(name) if isinstance(values, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DataError(f"{where}: '{name}' is not a list of objects; expected the COCO lists {', '.join(LISTS)}.")
    return dict(values)


class _Document:
    """One annotation file."""

    def __init__(self, folder: Folder, path: Path, split: Split | None, values: dict[str, Any]) -> None:
        self.folder, self.split, self.values = folder, split, values
        self.where = folder.relative(path)
        self.finder = ImageFinder(folder, path.parent, split, (path.stem.removeprefix("instances_"),))
        for number, category in enumerate(values["categories"]):
            if not isinstance(category.get("name"), str) or type(category.get("id")) is not int:
                raise DataError(
                    f"{folder.name}/{self.where}: categories[{number}] is {json.dumps(category)[:80]}; "
                    "expected an integer id and a name."
                )

    def categories(self) -> list[dict[str, Any]]:
        """Return the categories by id."""
        return sorted(self.values["categories"], key=lambda category: int(category["id"]))

    def items(self, problems: list[Problem]) -> Iterator[Item]:
        """Yield every image with its boxes; what cannot be used becomes a problem."""
        problems += self._doubled_ids("images")
        problems += self._doubled_ids("annotations")
        boxes = self._boxes(problems)
        for number, entry in enumerate(self.values["images"]):
            where = f"{self.where}: images[{number}]"
            name = entry.get("file_name")
            image = self.finder.by_name(name) if isinstance(name, str) and name else None
            if image:
                own = tuple(boxes.get(_key(entry.get("id")), ()))
                yield Item(image, self.folder.relative(image), self.split, own, _size(entry))
            elif isinstance(name, str) and name:
                message = f"image '{name}' is not there (looked in {self.finder.looked_in()})"
                problems.append(error("missing-image", where, message))
            else:
                problems.append(error("annotation-syntax", where, f"has no file_name: {json.dumps(entry)[:80]}"))

    def _doubled_ids(self, kind: str) -> Iterator[Problem]:
        first: dict[str, int] = {}
        for number, entry in enumerate(self.values[kind]):
            if "id" not in entry and kind == "annotations":
                continue  # nothing refers to an annotation
            before = first.setdefault(_key(entry.get("id")), number)
            if before != number:
                message = f"has the id {json.dumps(entry.get('id'))}, which {kind}[{before}] has too"
                yield error("duplicate-id", f"{self.where}: {kind}[{number}]", message)

    def _boxes(self, problems: list[Problem]) -> dict[str, list[Box]]:
        """Return the boxes by image id; crowds are regions, not objects, and are left out."""
        names = {_key(category["id"]): str(category["name"]) for category in self.values["categories"]}
        result: dict[str, list[Box]] = {_key(entry.get("id")): [] for entry in self.values["images"]}
        crowds = 0
        for number, entry in enumerate(self.values["annotations"]):
            where = f"{self.where}: annotations[{number}]"
            if entry.get("iscrowd") in (1, True):
                crowds += 1
                continue
            image, category = _key(entry.get("image_id")), _key(entry.get("category_id"))
            edges = _edges(entry.get("bbox"))
            if image not in result:
                message = f"refers to image {json.dumps(entry.get('image_id'))}, which is not in images"
                problems.append(error("missing-image", where, message))
            elif category not in names:
                message = f"has category {json.dumps(entry.get('category_id'))}, which is not in categories"
                problems.append(error("class-range", where, message))
            elif edges is None:
                message = f"has the bbox {json.dumps(entry.get('bbox'))[:60]}, expected [x, y, width, height]"
                problems.append(error("annotation-syntax", where, message))
            else:
                result[image].append(Box(names[category], edges, where))
        if crowds:
            problems.append(
                warning("crowd", self.where, f"{crowds} annotation{'s' * (crowds > 1)} with iscrowd left out")
            )
        return result


def _key(identifier: Any) -> str:
    """Make an id of any JSON type comparable, telling 1 from "1"."""
    return json.dumps(identifier)


def _edges(bbox: Any) -> tuple[float, float, float, float] | None:
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(type(v) in (int, float) for v in bbox):
        return None
    x, y, w, h = (float(value) for value in bbox)
    return (x, y, x + w, y + h) if math.isfinite(x + y + w + h) else None


def _size(entry: dict[str, Any]) -> tuple[int, int] | None:
    width, height = entry.get("width"), entry.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else None


def _classes(documents: Iterable[_Document]) -> list[str]:
    """Return the class names; an unused category that only groups others is none of them."""
    documents = list(documents)
    categories = [category for document in documents for category in document.categories()]
    groups = {
        category.get("supercategory") for category in categories if category.get("supercategory") != category["name"]
    }
    used = set()
    for document in documents:
        names = {_key(category["id"]): category["name"] for category in document.categories()}
        used |= {names.get(_key(entry.get("category_id"))) for entry in document.values["annotations"]}
    ordered = dict.fromkeys(str(category["name"]) for category in categories)
    return [name for name in ordered if name in used or name not in groups]
