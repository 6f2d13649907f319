"""Darknet's description (obj.data, obj.names), and folders of labels with nothing but a list of names (labelImg)."""

from __future__ import annotations

from pathlib import Path

from sightline.datasets.formats.files import LARGEST_TEXT, content, holds_pictures, short, some, unwrapped
from sightline.datasets.formats.foreign_paths import tails
from sightline.datasets.formats.yolo import label_file, name_lists
from sightline.datasets.formats.yolo.name_lists import LISTS as NAME_LISTS
from sightline.datasets.formats.yolo.yolo_description import Description, Names, numbered, sibling, texts
from sightline.datasets.types import SYNONYMS, Folder, folders
from sightline.documents import Split
from sightline.errors import DataError

NO_LABELS = (*NAME_LISTS, "train.txt", "valid.txt", "val.txt", "test.txt")
DEPTH = 2  # folders below the source in which labels are looked for
SPLIT_KEYS = {word.encode() for words in SYNONYMS.values() for word in words}
PROBED = 20  # text files of a folder that are looked into


def is_obj_data(path: Path) -> bool:
    """Tell a Darknet description by its keys."""
    with path.open("rb") as file:
        head = file.read(4096)
    keys = {line.split(b"=")[0].strip().lower() for line in head.splitlines() if b"=" in line}
    return b"names" in keys and bool(keys & SPLIT_KEYS)


def find_plain(root: Path) -> list[Path]:
    """Return a list of names that YOLO labels go with, in the folder or one below it; equal lists count once."""
    level = list(folders(root, 1))
    lists = [path for folder in level for path in (folder / name for name in NAME_LISTS) if path.is_file()]
    if not lists or not any(map(_holds_labels, folders(root, DEPTH))):
        return []
    return list({_head(path): path for path in reversed(lists)}.values())[::-1]


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST_TEXT)


def _holds_labels(folder: Path) -> bool:
    return any(map(is_label, some(folder, (".txt",), PROBED)))


def is_label(path: str) -> bool:
    """Tell whether a text file starts with the line of a box."""
    return _first_issue(path) == "class-range"  # a whole box, of a class that an empty list does not have


def is_any_label(path: str) -> bool:
    """Tell whether a text file starts with the line of a box, or of a label of another task."""
    return _first_issue(path) not in (None, "label-syntax")


def _first_issue(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            first = file.readline(4096)
    except OSError:
        return None
    issues = label_file.parse(first, "", []).issues
    return issues[0].rule if issues else None


def classes_in(folder: Path) -> set[int]:
    """Return the class numbers in a few label files of a folder."""
    numbers: set[int] = set()
    for path in some(folder, (".txt",), PROBED):
        with open(path, "rb") as file:
            words = [line.split()[0] for line in file.read(LARGEST_TEXT).splitlines() if line.strip()]
        numbers.update(int(word) for word in words if word.isdigit() and len(word) < 10)
    return numbers


def describe(folder: Folder, path: Path) -> Description:
    """Read an obj.data: lines of `key = value` that lead to lists of images and of names.

    Raises DataError with all that is missing.
    """
    where = f"{folder.name}/{folder.relative(path)}"
    text = content(path, where).decode("utf-8", "surrogateescape")
    pairs = [line.partition("=") for line in text.splitlines() if not line.lstrip().startswith("#")]
    values = {key.strip().lower(): value.strip() for key, equals, value in pairs if equals and value.strip()}
    bases = [base for base in (path.parent, *path.parent.parents[:2]) if folder.allows(base)]
    places: dict[Split | None, list[Path]] = {}
    problems = []
    for split, synonyms in SYNONYMS.items():
        key = next((key for key in synonyms if key in values), None)
        if key is None:
            continue
        place = _resolve(folder, bases, values[key])
        if place:
            places[split] = [place]
        else:
            problems.append(f"{key}: '{short(values[key])}' is no list file and no folder")
    listed = _resolve(folder, bases, values["names"]) if "names" in values else None
    if listed is None or listed.is_dir():
        problems.append(f"names: '{short(values.get('names', ''))}' is no file; expected a name a line")
    if problems or not places or listed is None:
        searched = " and ".join(str(base) for base in bases)
        raise DataError(f"{where} leads nowhere (looked below {searched}):", problems or ["no train list is named"])
    names = read_names(folder, listed)
    written = len(names.ids or names.classes)
    if values.get("classes", str(written)) != str(written):
        raise DataError(
            f"{where}: classes is {short(values['classes'])}, and {folder.relative(listed)} has {written} names. "
            "Correct the one that is wrong."
        )
    return Description(names, places, bases, foreign=True)


def describe_plain(folder: Folder, path: Path) -> Description:
    """Describe a folder that has only a list of names: one set without splits, or folders that are named after them.

    Raises DataError: no images, or a list that is none.
    """
    names = name_lists.with_notes(folder, path, read_names(folder, path))
    bases = [folder.root]
    home = folder.images or unwrapped(folder.root)
    splits: dict[Split | None, list[Path]] = {}
    for split in SYNONYMS:
        places = sibling([home], split)
        if places:
            splits[split] = places
    if not holds_pictures(home):
        raise DataError(
            f"{folder.name} holds YOLO labels and {folder.relative(path)}, and no images"
            f"{f' in {folder.images}' if folder.images else ''}. Name the folder of its images with --images."
        )
    return Description(names, splits or {None: [home]}, bases, foreign=True)


def read_names(folder: Folder, path: Path) -> Names:
    """Read a name a line. Raises DataError for a file that is no such list."""
    where = f"{folder.name}/{folder.relative(path)}"
    try:
        listed = content(path, where).decode("utf-8").splitlines()
    except UnicodeDecodeError as problem:
        raise DataError(f"{where} is no text in UTF-8: {problem}.") from None
    names = [name.strip() for name in listed]
    while names and not names[-1]:
        names.pop()
    if not all(names):
        raise DataError(f"{where}:{names.index('') + 1} is blank; expected a class name a line.")
    if not names:
        raise DataError(f"{where} is empty; expected a class name a line.")
    return numbered(folder.relative(path), dict(enumerate(texts(where, names))))


def _resolve(folder: Folder, bases: list[Path], value: str) -> Path | None:
    if "\0" in value:
        return None
    for tail in tails(value):
        for base in bases:
            path = base / tail
            try:
                if (path.is_file() or path.is_dir()) and folder.allows(path):
                    return path
            except OSError:  # a name too long for the file system
                continue
    return None
