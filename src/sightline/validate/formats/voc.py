"""Pascal VOC: one XML file an image.

Splits come from `ImageSets/Main/{train,val,test}.txt`, else from folder names. Coordinates are used as they stand:
xmin, ymin, xmax, ymax are the edges of the box in pixels from the upper left corner, so its width is xmax - xmin.
Classes are the names found, sorted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from sightline.artifacts import Problem, Split
from sightline.validate.dataset import (
    SYNONYMS,
    Box,
    Folder,
    Item,
    Reading,
    error,
    files,
    folders,
    is_image,
    split_of,
    warning,
)
from sightline.validate.formats.images import ImageFinder

EDGES = ("xmin", "ymin", "xmax", "ymax")
DEPTH = 3  # folders below the source: VOCdevkit/VOC2012/Annotations


def find(root: Path) -> list[Path]:
    """Return the folders that hold annotation files, judged by the first XML file in each."""
    return [folder for folder in folders(root, DEPTH) if any(_is_annotation(p) for p in files(folder, (".xml",))[:1])]


def _is_annotation(path: Path) -> bool:
    with path.open("rb") as file:
        return re.search(rb"<annotation[\s>]", file.read(4096)) is not None


def read(folder: Folder, found: list[Path]) -> Reading:
    """Read every annotation; what cannot be used becomes a problem."""
    reading = Reading("voc", [], relative=False)
    splits = {place: _split_of(place, folder.root) for place in found}
    for place in found:
        annotations = {path.stem: path for path in files(place, (".xml",))}
        lists = _lists(place)
        if lists:
            reading.declared |= set(lists)
            groups = list(_listed(folder, lists, annotations, reading.problems))
        elif splits[place] or not any(splits.values()):
            split = splits[place]
            reading.declared |= {split} if split else set()
            groups = [(split, list(annotations.values()))]
        else:
            reading.problems.append(_left_out(folder, place, len(annotations)))
            continue
        for split, paths in groups:
            finder = ImageFinder(folder, place, split)
            reading.items += [item for path in paths for item in _item(folder, path, split, finder, reading.problems)]
    reading.problems += _unlabelled(folder, found)
    reading.classes = sorted({box.name for item in reading.items for box in item.boxes})
    return reading


def _split_of(place: Path, root: Path) -> Split | None:
    """Tell the split of a folder by its name, else by the name of the folder around it."""
    for folder in (place, place.parent):
        if folder == root or not folder.is_relative_to(root):
            return None
        split = split_of(folder.name)
        if split:
            return split
    return None


def _lists(place: Path) -> dict[Split, Path]:
    """Return ImageSets/Main/{train,val,test}.txt; trainval.txt repeats what they say."""
    main = place.parent / "ImageSets" / "Main"
    return {split: main / f"{split}.txt" for split in SYNONYMS if (main / f"{split}.txt").is_file()}


def _listed(
    folder: Folder, lists: dict[Split, Path], annotations: dict[str, Path], problems: list[Problem]
) -> Iterator[tuple[Split | None, list[Path]]]:
    """Yield each split with the annotations that its list names."""
    left = dict(annotations)
    for split, path in lists.items():
        chosen = []
        for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
            stem = line.strip()
            left.pop(stem, None)
            if stem in annotations:
                chosen.append(annotations[stem])
            elif stem:
                message = f"'{stem}' has no annotation {stem}.xml in {folder.relative(_home(annotations, path))}"
                problems.append(error("missing-annotation", f"{folder.relative(path)}:{number}", message))
        yield split, chosen
    if left:
        problems.append(_left_out(folder, next(iter(left.values())).parent, len(left)))


def _home(annotations: dict[str, Path], path: Path) -> Path:
    return next((annotation.parent for annotation in annotations.values()), path.parent)


def _left_out(folder: Folder, place: Path, count: int) -> Problem:
    return warning(
        "no-split", folder.relative(place), f"{count} annotated image{'s' * (count > 1)} in no split; left out"
    )


def _unlabelled(folder: Folder, found: list[Path]) -> Iterator[Problem]:
    """Warn of images that lie beside annotation files and have none: VOC marks a background by an empty file."""
    for place in found:
        stems = {path.stem for path in files(place, (".xml",))}
        count = sum(is_image(path) and path.stem not in stems for path in place.iterdir())
        if count:
            message = f"{count} image{'s' * (count > 1)} without an annotation file; left out"
            yield warning("unlabelled-image", folder.relative(place), message)


class _Parser(DefusedXMLParser):
    """Notes the line of each element."""

    def _start(self, tag: str, attr_list: list[str]) -> Element:
        element: Element = super()._start(tag, attr_list)  # type: ignore[misc]
        element.set("line", str(self.parser.CurrentLineNumber))
        return element


def _item(
    folder: Folder, path: Path, split: Split | None, finder: ImageFinder, problems: list[Problem]
) -> Iterator[Item]:
    """Yield the image of one annotation file with its boxes, or nothing and a problem."""
    where = folder.relative(path)
    parser = _Parser()
    try:
        parser.feed(path.read_bytes())
        root = parser.close()
    except ParseError as problem:
        problems.append(error("annotation-syntax", f"{where}:{problem.position[0]}", f"not XML: {problem}"))
        return
    except DefusedXmlException:
        problems.append(
            error("annotation-syntax", f"{where}:1", "declares XML entities, which annotations do not need")
        )
        return
    name = _text(root, "filename")
    image = finder.by_stem(path.stem) or (finder.by_name(name) if name else None)
    if not image:
        message = f"its image '{name or path.stem}' is not there (looked in {finder.looked_in()})"
        problems.append(error("missing-image", f"{where}:{_line(root.find('filename'), root)}", message))
        return
    boxes = []
    for element in root.iter("object"):
        box = _box(element, where)
        if isinstance(box, Box):
            boxes.append(box)
        else:
            problems.append(box)
    yield Item(image, folder.relative(image), split, tuple(boxes), _size(root))


def _box(element: Element, where: str) -> Box | Problem:
    place = f"{where}:{element.get('line')}"
    name = _text(element, "name")
    if not name:
        return error("annotation-syntax", place, "an object without a name")
    texts = [_text(element, f"bndbox/{edge}") for edge in EDGES]
    try:
        x0, y0, x1, y1 = (float(text) for text in texts)
    except ValueError:
        x0 = y0 = x1 = y1 = math.nan
    if not math.isfinite(x0 + y0 + x1 + y1):
        got = ", ".join(f"{edge} '{text}'" for edge, text in zip(EDGES, texts, strict=True))
        return error("annotation-syntax", place, f"object '{name}' has {got}; expected four numbers in bndbox")
    return Box(name, (x0, y0, x1, y1), place)


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _line(element: Element | None, root: Element) -> str | None:
    return (root if element is None else element).get("line")


def _size(root: Element) -> tuple[int, int] | None:
    try:
        width, height = int(_text(root, "size/width")), int(_text(root, "size/height"))
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None
