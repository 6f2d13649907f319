"""Pascal VOC: one XML file an image (see `voc_xml`).

Splits come from `ImageSets/Main/{train,val,test}.txt`, else from folder names. A background is an image whose
annotation file has no objects. Classes are the names found, sorted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from sightline.datasets.formats.files import (
    ALL_IMAGE_SUFFIXES,
    FOREIGN_SUFFIXES,
    cannot_be_read,
    composed,
    fence,
    lines,
    names,
    short,
    some,
    stem,
    suffix,
)
from sightline.datasets.formats.image_lookup import ImageFinder, odd_files
from sightline.datasets.formats.voc import xml
from sightline.datasets.types import SYNONYMS, Folder, ImageRecord, Reading, folders, split_of
from sightline.documents import Split
from sightline.errors import DataError
from sightline.image_files.images import IMAGE_SUFFIXES
from sightline.rules import Issue

DEPTH = 3  # folders below the source: VOCdevkit/VOC2012/Annotations
PROBED = 10  # XML files of a folder that are looked into
XML = (".xml",)


def find(root: Path) -> list[Path]:
    """Return the folders that hold annotation files, judged by a few XML files in each."""
    return [folder for folder in folders(root, DEPTH) if any(map(is_annotation, some(folder, XML, PROBED)))]


def is_annotation(path: str) -> bool:
    """Tell an annotation file by its first element."""
    with open(path, "rb") as file:
        head = file.read(4096)
    return re.search(rb"<annotation[\s>]", head.replace(b"\0", b"")) is not None  # without the zeros of UTF-16


def read(folder: Folder, places: list[Path], origin: int = 0, only: Path | None = None) -> Reading:
    """Recognise the splits; `origin` is what pixels are counted from (see `voc_xml.parse`).

    With `only`, the images in that list are all of the set, and in no split.
    """
    reading = Reading("voc", None, relative=False, records=lambda: iter(()), parse=partial(xml.parse, origin=origin))
    splits = {place: None if only else _split_of(place, folder.root) for place in places}
    lists: dict[Path, Mapping[Split | None, Path]] = {
        place: {None: only} if only else _lists(folder, place) for place in places
    }
    for place in places:
        reading.declared |= {split for split in (lists[place] or (splits[place],)) if split}
        reading.issues += () if only or lists[place] else _other_lists(folder, place)
    reading.records = _Records(folder, splits, lists).all
    reading.part = only is not None
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


def sets(place: Path) -> Path:
    """Return the folder of lists that belongs to a folder of annotations."""
    return place.parent / "ImageSets"


def _lists(folder: Folder, place: Path) -> dict[Split | None, Path]:
    """Return ImageSets/Main/{train,val,test}.txt, or those of ImageSets itself.

    trainval.txt repeats what they say, or stands for train. CVAT writes Train.txt: case is none of the name.
    Raises DataError for a list that is there and cannot be read.
    """
    for lists in (sets(place) / "Main", sets(place)):
        listed = sorted(os.listdir(lists)) if lists.is_dir() else []
        found: dict[Split | None, Path] = {}
        for split, synonyms in SYNONYMS.items():
            words = (*synonyms, "trainval") if split == "train" else synonyms
            name = next((name for word in words for name in listed if name.lower() == f"{word}.txt"), None)
            if name and not (lists / name).is_file():
                where = f"{folder.name}/{folder.relative(lists / name)}"
                raise DataError(f"{where} is no file that can be read; expected a list of the images of {split}.")
            if name:
                found[split] = lists / name
        if found:
            return found
    return {}


def _other_lists(folder: Folder, place: Path) -> Iterator[Issue]:
    """Yield lists that are named after splits and lie where lists of another task do: ImageSets/Segmentation."""
    for lists in sorted(path for path in sets(place).glob("*") if path.is_dir()):
        for name in names(lists, (".txt",)):
            if split_of(name) and folder.allows(lists / name):
                message = "is a list that is not in ImageSets/Main; expected lists of a detection set there; left out"
                yield Issue("unused-file", folder.relative(lists / name), message)


class _Records:
    """Streams the images that annotation files name, one folder of annotations after the other."""

    def __init__(
        self, folder: Folder, splits: dict[Path, Split | None], lists: Mapping[Path, Mapping[Split | None, Path]]
    ) -> None:
        self.folder, self.splits, self.lists = folder, splits, lists
        self.allows = fence(folder)
        self.places_of: dict[str, dict[Path, None]] = {}  # folders of images, and of their annotations
        self.bare: set[tuple[str, str]] = set()  # images that a list names, without annotations: folder and name

    def all(self) -> Iterator[ImageRecord | Issue]:
        divided = any(self.splits.values()) or any(self.lists.values())
        for place, split in self.splits.items():
            if self.lists[place]:
                yield from self._listed(place)
            elif split or not divided:
                finder = ImageFinder(self.folder, place, split)
                for name in names(place, XML):
                    yield from self._record(place, name, split, finder)
                yield from finder.issues()
            else:
                yield from (self._left_out(place, name) for name in names(place, XML))
        for images, places in self.places_of.items():
            yield from self._around(images, places)

    def _listed(self, place: Path) -> Iterator[ImageRecord | Issue]:
        """Yield what the lists name."""
        listed = dict.fromkeys(names(place, XML), False)
        by_form = {composed(name): name for name in listed}
        spellings = {name[-4:] for name in listed}
        for split, path in self.lists[place].items():
            finder = ImageFinder(self.folder, place, split)
            for number, line in lines(path):
                forms = map(composed, _candidates(line, spellings))
                name = next((by_form[form] for form in forms if form in by_form), None)
                if name:
                    listed[name] = True
                    yield from self._record(place, name, split, finder)
                else:
                    yield self._unlabelled(line, f"{self.folder.relative(path)}:{number}", place, split, finder)
            yield from finder.issues()
        if None not in self.lists[place]:  # else the one list that was named is all that is meant
            for name in (name for name, taken in listed.items() if not taken):
                yield self._left_out(place, name)

    def _unlabelled(
        self, line: str, where: str, place: Path, split: Split | None, finder: ImageFinder
    ) -> ImageRecord | Issue:
        """Return the image of a line that has no annotation file."""
        line = line.strip('"') or line
        image = finder.by_stem(line) or finder.by_name(line, where)
        if image is None:
            name = short(line)
            message = f"'{name}' has no annotation {name}.xml in {self.folder.relative(place)}, and no image"
            return Issue("missing-image", where, message)
        self.bare.add((self._note(image, place), os.path.basename(image)))
        name = stem(os.path.basename(image))
        return ImageRecord(
            image, self.folder.relative(image), split, f"{self.folder.relative(f'{place}/{name}')}.xml:{{}}"
        )

    def _left_out(self, place: Path, name: str) -> Issue:
        return Issue("no-split", self.folder.relative(place / name), "is of an image in no split; left out")

    def _record(
        self, place: Path, name: str, split: Split | None, finder: ImageFinder
    ) -> Iterator[ImageRecord | Issue]:
        """Yield the image of an annotation file."""
        label = f"{place}/{name}"
        if not self.allows(label):
            return
        where = self.folder.relative(label)
        image = finder.by_stem(stem(name))
        if image is None:
            image, issues = self._by_content(label, where, stem(name), finder)
            yield from issues
        if image is not None:
            self._note(image, place)
            if suffix(image) not in FOREIGN_SUFFIXES:  # `odd_files` reports those
                yield ImageRecord(image, self.folder.relative(image), split, f"{where}:{{}}", label)

    def _by_content(self, label: str, where: str, name: str, finder: ImageFinder) -> tuple[str | None, Iterable[Issue]]:
        """Look for the image under the name that the annotation gives it."""
        try:
            with open(label, "rb") as file:
                data = file.read(xml.LARGEST + 1)
        except OSError as error:
            return None, [cannot_be_read(where, error)]
        parsed = xml.parse(data, where, None)
        image = finder.by_name(parsed.image, where) if parsed.image else None
        if image:
            return image, ()
        line = data.count(b"\n", 0, max(0, data.find(b"<filename"))) + 1
        message = f"its image '{short(parsed.image or name)}' is not there{finder.why(parsed.image or name)}"
        return None, (*parsed.issues, Issue("missing-image", f"{where}:{line}", message))

    def _note(self, image: str, place: Path) -> str:
        images = os.path.dirname(image)
        self.places_of.setdefault(images, {})[place] = None
        return images

    def _around(self, images: str, places: Iterable[Path]) -> Iterator[Issue]:
        """Yield what is wrong with the files of an image folder, and which of them have no annotations."""
        image_names = names(images, ALL_IMAGE_SUFFIXES)
        home = self.folder.relative(next(iter(places)))
        yield from odd_files(self.folder, images, image_names, lambda stem: f"{home}/{stem}.xml")
        if any(None in self.lists[place] for place in places):
            return
        annotated = {composed(stem(name)) for place in places for name in names(place, XML)}
        for name in image_names:
            bare = composed(stem(name)) not in annotated and (images, name) not in self.bare
            if bare and suffix(name) in IMAGE_SUFFIXES:
                message = f"is an image without an annotation file; expected {home}/{stem(name)}.xml; left out"
                yield Issue("unused-file", self.folder.relative(f"{images}/{name}"), message)


def _candidates(line: str, spellings: Iterable[str]) -> Iterator[str]:
    """Yield the file names that a line of a list can mean: a stem, or the name of an image, in a folder or not.

    Datumaro and CVAT put names with blanks in quotes.
    """
    line = line.strip('"') or line
    base = line.replace("\\", "/").rpartition("/")[2]
    for text in (line, base, stem(base) if suffix(base) in (*ALL_IMAGE_SUFFIXES, *XML) else base):
        yield from (f"{text}{spelling}" for spelling in spellings)
