"""YOLO: a description that names splits and classes, and one text file of boxes for each image (see `labels`).

Descriptions are data.yaml (see `data_yaml`), Darknet's obj.data, or only a list of names (see `darknet`). An image with
an empty label file is a background.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from sightline.datasets.formats.files import (
    ALL_IMAGE_SUFFIXES,
    FOREIGN_SUFFIXES,
    LARGEST_TEXT,
    composed,
    fence,
    folded,
    lines,
    names,
    short,
    stem,
    suffix,
    unwrapped,
    walk,
)
from sightline.datasets.formats.image_lookup import odd_files
from sightline.datasets.formats.yolo import darknet, data_yaml, name_lists
from sightline.datasets.formats.yolo import label_file as labels
from sightline.datasets.formats.yolo.image_list import ImageList
from sightline.datasets.formats.yolo.label_folders import LabelFolders
from sightline.datasets.formats.yolo.yolo_description import Description, Labels
from sightline.datasets.types import SYNONYMS, Folder, ImageRecord, Reading, folders
from sightline.documents import Split
from sightline.errors import DataError
from sightline.image_files.images import IMAGE_SUFFIXES
from sightline.rules import Issue

SPLITS = "|".join(word for words in SYNONYMS.values() for word in words)
KEYS = re.compile(rb"""(?im)(?:^|[{,])\s*["']?(?:(?P<names>names)|(?P<split>%s))["']?\s*:""" % SPLITS.encode())
FEWEST_APART, APART = 2, 0.1  # labels without image and images without label, as a share of images, that are no chance
AS_MANY = 0.8  # of the one as of the other
PREFERRED = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")


def find(root: Path) -> list[Path]:
    """Return the descriptions in the folder, else those one level below it, else a list of names beside labels."""
    root = unwrapped(root)
    levels = list(folders(root, 1))
    for level in ([root], levels[1:]):
        found = [path for path in map(_description, level) if path]
        if found:
            return found
    return darknet.find_plain(root)


def _description(folder: Path) -> Path | None:
    """Return data.yaml, or the one other YAML file that names classes and a split, or a Darknet description."""
    yamls = [folder / name for name in names(folder, (".yaml", ".yml"))]
    for name in PREFERRED:
        if path := next((path for path in yamls if path.name.lower() == name), None):
            return path
    others = [path for path in yamls if _is_data_yaml(path)]
    if len(others) == 1:
        return others[0]
    return next(
        (path for path in (folder / name for name in names(folder, (".data",))) if darknet.is_obj_data(path)), None
    )


def _is_data_yaml(path: Path) -> bool:
    """Tell a YAML file by its keys, at the start of a line or in braces, in any case."""
    with path.open("rb") as file:
        return {"names", "split"} <= {match.lastgroup for match in KEYS.finditer(file.read(LARGEST_TEXT))}


def read(folder: Folder, descriptions: list[Path]) -> Reading:
    """Read the description. Raises DataError with everything that is wrong with it."""
    if len(descriptions) > 1:
        listed = ", ".join(folder.relative(path) for path in descriptions)
        raise DataError(f"{folder.name} holds several data sets ({listed}). Point to the folder of one of them.")
    [path] = descriptions
    if path.suffix.lower() in (".yaml", ".yml"):
        described = data_yaml.describe(folder, path)
    elif path.suffix.lower() == ".data":
        described = darknet.describe(folder, path)
    else:
        described = darknet.describe_plain(folder, path)
    if path.name not in name_lists.LISTS:
        homes = dict.fromkeys([path.parent, *described.bases, *_homes(folder, described)])
        described.issues += name_lists.other_orders(folder, path, described.names, homes)
    ids = described.names.ids
    return Reading(
        "yolo",
        described.names.classes,
        relative=True,
        records=_Records(folder, described).all,
        parse=partial(labels.parse, ids=ids) if ids else labels.parse,
        declared={split for split in described.places if split},
        issues=[*described.names.issues, *described.issues],
        listed=any(place.is_file() for places in described.places.values() for place in places),
        home=described.bases[0] if folder.file else None,
    )


def _homes(folder: Folder, described: Description) -> Iterator[Path]:
    """Yield the folders where tools leave lists of names: those of images and labels, and the ones around them."""
    label = Labels(folder, described.bases).of
    for place in (place for places in described.places.values() for place in places if place.is_dir()):
        for home in (place, Path(label(str(place)))):
            yield from (path for path in (home, home.parent) if path.is_relative_to(folder.root))


class Near(NamedTuple):
    """A label that has nearly the name of an image, or the `same` in another Unicode form."""

    name: str
    same: bool


class _Records:
    """Streams the images of a description, and what lies around them."""

    def __init__(self, folder: Folder, described: Description) -> None:
        self.folder, self.described = folder, described
        self.allows = fence(folder)
        self.label_folders = LabelFolders(folder, described.bases)
        self.labels = self.label_folders.of
        self.oddly_spelled = lru_cache(64)(self._oddly_spelled)
        self.paired = lru_cache(64)(self._paired)
        self.bare: Counter[str] = Counter()  # images without a label, by the folder it would be in
        self.first_bare: dict[str, str] = {}
        self.images_of: dict[str, dict[str, None]] = {}  # folders of labels, and of the images they belong to

    def all(self) -> Iterator[ImageRecord | Issue]:
        for split, places in self.described.places.items():
            for place in places:
                if place.is_dir():
                    for images in walk(place, follow=self.folder.fence is None):
                        yield from self._of_folder(images, split)
                else:
                    yield from self._of_list(place, split)
        yield from self.label_folders.issues
        for labels_in, images_in in self.images_of.items():
            yield from self._around(labels_in, list(images_in))

    def _record(self, image: str, label: str, exists: bool, split: Split | None) -> Iterator[ImageRecord | Issue]:
        """Yield an image with the label of its name, else of nearly its name."""
        relative = self.folder.relative
        if not exists:
            images, place = os.path.dirname(image), os.path.dirname(label)
            near = self.paired(images, place).get(stem(os.path.basename(image)))
            if near is None or not self.allows(f"{place}/{near.name}"):
                self.bare[place] += 1
                self.first_bare.setdefault(place, image)
            else:
                label, exists = f"{place}/{near.name}", True
                if not near.same:
                    message = f"has no label file of its name; '{relative(label)}' nearly has it, and has no image"
                    yield Issue("label-name", relative(image), message)
        yield ImageRecord(image, relative(image), split, f"{relative(label)}:{{}}", label if exists else None)

    def _of_folder(self, images: str, split: Split | None) -> Iterator[ImageRecord | Issue]:
        image_names = names(images, ALL_IMAGE_SUFFIXES)
        if not image_names or not self.folder.allows(images):
            return
        place = self._pair(images, self.labels(images))
        present = self._texts(place)
        for name in image_names:
            if name.lower().endswith(IMAGE_SUFFIXES) and self.allows(f"{images}/{name}"):
                usual = f"{stem(name)}.txt"
                label = f"{place}/{present.get(usual, usual)}"
                exists = usual in present and self.allows(label)
                yield from self._record(f"{images}/{name}", label, exists, split)

    def _of_list(self, path: Path, split: Split | None) -> Iterator[ImageRecord | Issue]:
        listed = ImageList(self.folder, path, self.described.bases, darknet=self.described.foreign)
        for number, line in lines(path):
            if listed.no_image(number, line):
                continue
            image = listed.image(number, line)
            if image is None:
                where = f"{self.folder.relative(path)}:{number}"
                message = f"the image '{short(line)}' is not there{listed.why(line)}"
                yield Issue("missing-image", where, message)
                continue
            label = self._label(listed, line, image)
            self._pair(os.path.dirname(image), os.path.dirname(label))
            if suffix(image) not in FOREIGN_SUFFIXES:  # `odd_files` reports those
                yield from self._record(image, label, self._is_file(label), split)
        yield from listed.issues()

    def _label(self, listed: ImageList, line: str, image: str) -> str:
        """Return the label of an image: where the list says its image is, if that lies elsewhere."""
        elsewhere = self.folder.images
        if self.described.foreign and elsewhere and image.startswith(f"{elsewhere}/"):
            label = listed.file(f"{os.path.splitext(line)[0]}.txt")
            if label:
                return label
        images, _, name = image.rpartition("/")
        place, label = self.labels(images), f"{stem(name)}.txt"
        if not os.path.isfile(f"{place}/{label}"):
            label = self.oddly_spelled(place).get(label, label)
        return f"{place}/{label}"

    def _is_file(self, path: str) -> bool:
        return os.path.isfile(path) and self.allows(path)

    def _texts(self, place: str) -> dict[str, str]:
        """Return the text files in a folder of labels, if it is there and inside, by their names with `.txt`."""
        listed = names(place, (".txt",)) if os.path.isdir(place) and self.folder.allows(place) else []
        return {name if name.endswith(".txt") else f"{stem(name)}.txt": name for name in listed}

    def _oddly_spelled(self, place: str) -> dict[str, str]:
        """Return those whose suffix is spelled like `.TXT`."""
        return {usual: name for usual, name in self._texts(place).items() if usual != name}

    def _paired(self, images: str, place: str) -> dict[str, Near]:
        """Return labels that have no image of their name, by the stem of the one image that has nearly their name.

        Nearly is another Unicode form, which is the same name; or another case, white space, a suffix too many.
        """
        texts = self._texts(place)
        stems = {stem(name) for name in names(images, ALL_IMAGE_SUFFIXES)}
        labels = {usual[:-4]: name for usual, name in texts.items() if usual not in darknet.NO_LABELS}
        missing, left = stems - labels.keys(), labels.keys() - stems
        pairs: dict[str, Near] = {}
        for key, same in ((composed, True), (folded, False)) if missing and left else ():
            wanted, offered = _unique(missing - pairs.keys(), key), _unique(left, key)
            for form in wanted.keys() & offered.keys():
                label = labels[offered[form]]
                if same or darknet.is_label(f"{place}/{label}"):
                    pairs[wanted[form]] = Near(label, same)
                    left.discard(offered[form])
        return pairs

    def _pair(self, images: str, place: str) -> str:
        self.images_of.setdefault(place, {})[images] = None
        return place

    def _around(self, place: str, images_of: list[str]) -> Iterator[Issue]:
        """Yield what is wrong with the files of image folders, and labels in `place` without an image in them."""
        present = self._texts(place)
        count = 0
        for images in images_of:
            image_names = names(images, ALL_IMAGE_SUFFIXES)
            count += len(image_names)
            yield from odd_files(
                self.folder, images, image_names, lambda stem: self.folder.relative(f"{place}/{stem}.txt")
            )
            for name in image_names:
                present.pop(f"{stem(name)}.txt", None)
            for near in self.paired(images, place).values():
                present.pop(near.name if near.name.endswith(".txt") else f"{stem(near.name)}.txt", None)
        orphans = sorted(name for usual, name in present.items() if usual not in darknet.NO_LABELS)
        orphans = [name for name in orphans if place not in images_of or darknet.is_label(f"{place}/{name}")]
        for name in orphans:
            where = self.folder.relative(f"{place}/{name}")
            yield Issue("orphan-label", where, "has no image of its name; expected one for each label file")
        fewer, more = sorted((self.bare[place], len(orphans)))
        if fewer >= max(FEWEST_APART, APART * count) and fewer >= AS_MANY * more:
            message = (
                f"{len(orphans)} labels without an image and {self.bare[place]} images without a label: their names do "
                f"not fit each other, such as '{self.folder.relative(f'{place}/{orphans[0]}')}' and "
                f"'{self.folder.relative(self.first_bare[place])}'; expected labels that are named like their images"
            )
            yield Issue("unpaired-label", self.folder.place(place), message)


def _unique(stems: Iterable[str], key: Callable[[str], str]) -> dict[str, str]:
    """Return stems by their key, without those that share one."""
    found: dict[str, str | None] = {}
    for one in stems:
        form = key(one)
        found[form] = None if form in found else one
    return {form: one for form, one in found.items() if one is not None}
