"""Finds the annotation files of COCO in a source, and says which .json files beside them cannot be read, and why."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sightline.datasets.formats.coco import json_stream
from sightline.datasets.formats.coco.json_stream import LISTS
from sightline.datasets.formats.files import mentions, names
from sightline.datasets.types import Folder, folders, hidden, split_of
from sightline.documents import Split
from sightline.errors import DataError
from sightline.rules import Issue

DEPTH = 2  # folders below the source: one that wraps everything, and one per split
WORDS = tuple(f'"{name}"'.encode() for name in LISTS)
SMELLS = (*WORDS, b'"file_name"', b'"bbox"')
MOST = 20  # .json files of a folder; with more it has a file an image, which COCO has not
USUAL = ("annotation", "coco", "instances")  # in the names of annotation files
HOME = "annotations"  # in lower case: where files of annotations lie
OTHERS = {  # how files start that are no JSON
    b"version https://git-lfs": "is a pointer of git-lfs, not the file itself; get it with `git lfs pull`",
    b"\x1f\x8b": "is compressed by gzip; unpack it",
    b"PK\x03\x04": "is a zip archive; unpack it",
    b"<!doctype html": "is a web page, as of a download that failed; get the file again",
    b"<html": "is a web page, as of a download that failed; get the file again",
}


def find(root: Path) -> list[Path]:
    """Return the files that look like COCO annotations, judged by the three lists they mention."""
    return [path for path in _json_files(root) if not absent(path)]


def absent(path: Path) -> list[str]:
    """Return the lists of COCO that a file does not mention."""
    found = mentions(path, WORDS)
    return [name for name, word in zip(LISTS, WORDS, strict=True) if word not in found]


def named_split(root: Path, path: Path) -> Split | None:
    """Return the split that the name of a file names, else that of its folder."""
    return split_of(path.stem) or (split_of(path.parent.name) if path.parent != root else None)


def explain_broken(folder: Folder) -> None:
    """Raise DataError for files that have a bit of COCO in them or lie where annotations do, and are not JSON."""
    _refuse_damaged(folder, set(), set())
    for path in _json_files(folder.root):
        if len(mentions(path, SMELLS)) > 1:
            json_stream.check(path, f"{folder.name}/{folder.relative(path)}")


def unread(folder: Folder, found: list[Path]) -> Iterator[Issue]:
    """Yield files that look like annotations of another split, and lack a list. Raises DataError for broken ones.

    A file beside one that is read is none: COCO ships captions beside instances.
    """
    read = {split for path in found if (split := named_split(folder.root, path))}
    _refuse_damaged(folder, set(found), read)
    beside = {path.parent for path in found}
    for path in _json_files(folder.root):
        same = path.parent in beside and split_of(path.stem) in {split_of(other.stem) for other in found}
        if same or path in found or not folder.allows(path):
            continue
        smells = mentions(path, SMELLS)
        where = folder.relative(path)
        if len(smells) >= 2 and smells & set(WORDS):
            json_stream.check(path, f"{folder.name}/{where}")
        elif (split := named_split(folder.root, path)) is None or split in read:
            continue
        yield Issue("unused-file", where, f"has not all of the lists {', '.join(LISTS)}; left out")


def _json_files(root: Path) -> Iterator[Path]:
    for folder in folders(root, DEPTH):
        yield from (folder / name for name in names(folder, (".json",)))


def _refuse_damaged(folder: Folder, found: set[Path], read: set[Split]) -> None:
    """Raise DataError that names the files which stand for a split that is not in `read`, and say nothing."""
    problems: list[str] = []
    for path in _candidates(folder.root):
        split = named_split(folder.root, path)
        if path in found or split in read or not folder.allows(path):
            continue
        known = path.name in {other.name for other in found} or any(word in path.name.lower() for word in USUAL)
        if split_of(path.stem) or known or path.parent.name.lower() == HOME:
            problems += filter(None, [damage(path, folder.relative(path))])
    if problems:
        raise DataError(
            f"{folder.name} holds annotation files that cannot be read. Restore them, or remove them if they are no "
            "part of the set:",
            problems,
        )


def _candidates(root: Path) -> Iterator[Path]:
    """Yield all files that are named like JSON, also links to nothing, which git-annex leaves."""
    for folder in folders(root, DEPTH):
        with os.scandir(folder) as entries:
            found = [e.name for e in entries if e.name.lower().endswith(".json") and not hidden(e.name)]
        if len(found) <= MOST:
            yield from (path for path in (folder / name for name in sorted(found)) if not path.is_dir())


def damage(path: Path, where: str) -> str | None:
    """Say what a file is in place of JSON; None for JSON."""
    try:
        with path.open("rb") as file:
            head = file.read(256)
    except OSError as error:
        link = path.is_symlink() and not path.exists()
        return f"{where} " + ("is a link to nothing" if link else f"cannot be read: {error.strerror}")
    if not head:
        return f"{where} is empty"
    if not head.strip(b"\0"):
        return f"{where} holds zeros"
    other = next((words for start, words in OTHERS.items() if head.lstrip().lower().startswith(start.lower())), None)
    if other:
        return f"{where} {other}"
    try:
        json_stream.check(path, where)
    except DataError as error:
        return error.message
    return None
