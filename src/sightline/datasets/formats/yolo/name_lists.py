"""Lists of class names beside a description: they may number the classes otherwise, and then one of them is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sightline.datasets.class_keys import name_key
from sightline.datasets.formats.files import LARGEST_TEXT, as_utf8, content, short
from sightline.datasets.formats.yolo.yolo_description import Names, numbered
from sightline.datasets.types import Folder
from sightline.errors import DataError
from sightline.rules import Issue

NOTES = "notes.json"  # of Label Studio: class names with the numbers that its labels have
LISTS = ("classes.txt", "obj.names", "_darknet.labels")
SHOWN = 5


def with_notes(folder: Folder, path: Path, names: Names) -> Names:
    """Return the names of a list as Label Studio numbers them, if its notes lie beside the list.

    Labels have the numbers of notes.json; the list is in the order of the labelling interface. Raises DataError if the
    two have different names.
    """
    notes = path.parent / NOTES
    if not notes.is_file() or not folder.allows(notes):
        return names
    where = f"{folder.name}/{folder.relative(notes)}"
    listed = _notes(content(notes, where), where)
    if listed is None:
        return names
    mine = numbers(names)
    if set(listed.values()) != set(mine.values()):
        raise DataError(
            f"{where} and {folder.relative(path)} have different class names: {_names(listed)}; and {_names(mine)}. "
            "Which of them the labels follow is not known: remove the one that is wrong."
        )
    if listed == mine:
        return names
    result = numbered(folder.relative(notes), listed)
    message = f"lists {_names(mine)}; {folder.relative(notes)} numbers them {_names(listed)}; took the latter"
    result.issues.append(Issue("class-numbers", folder.relative(path), message))
    return result


def numbers(names: Names) -> dict[int, str]:
    """Return the names by the number that label files have."""
    if names.ids is None:
        return dict(enumerate(names.classes))
    return {int(number): names.classes[index] for number, index in names.ids.items()}


def other_orders(folder: Folder, described: Path, names: Names, homes: Iterable[Path]) -> Iterator[Issue]:
    """Yield lists beside a description, or in `homes`, that give one of its names another number.

    Names are the same as `name_key` has it. A list may have more names or fewer.
    """
    mine = numbers(names)
    seen = {described.resolve()}
    for home in homes:
        for name in (*LISTS, NOTES):
            path = home / name
            if not path.is_file() or not folder.allows(path) or path.resolve() in seen:
                continue
            seen.add(path.resolve())
            other = _read(path)
            disputed = _disputed(mine, other or {})
            if disputed:
                theirs, ours = ({one: names[one] for one in numbers} for names, numbers in disputed)
                message = f"numbers the classes {_names(theirs)}; {folder.relative(described)} has {_names(ours)}"
                yield Issue("class-order", folder.relative(path), message)


def _disputed(mine: dict[int, str], other: dict[int, str]) -> list[tuple[dict[int, str], set[int]]]:
    """Return both with the numbers of the names that have another number in the other; nothing if there are none."""
    numbers: dict[str, set[int]] = {}  # by the name, and by what is left of it without its spelling
    for number, name in mine.items():
        for form in {name, name_key(name)}:
            numbers.setdefault(form, set()).add(number)
    theirs, ours = set(), set()
    for number, name in other.items():
        known = numbers.get(name) or numbers.get(name_key(name), set())
        if known and number not in known:
            theirs.add(number)
            ours |= known
    return [(other, theirs), (mine, ours)] if theirs else []


def _read(path: Path) -> dict[int, str] | None:
    """Return the names of a list; None for a file that is none, which says nothing about the order."""
    with path.open("rb") as file:
        data = as_utf8(file.read(LARGEST_TEXT))
    if path.name == NOTES:
        try:
            return _notes(data, path.name)
        except DataError:
            return None
    lines = data.decode("utf-8", "replace").strip().splitlines()
    return {number: line.strip() for number, line in enumerate(lines)}


def _notes(data: bytes, where: str) -> dict[int, str] | None:
    """Return the names of notes.json; None for another file of this name. Raises DataError for a damaged one."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as problem:
        if b'"categories"' not in data:
            return None
        raise DataError(f"{where} is not JSON: {short(str(problem))}. Export it again, or remove it.") from None
    listed = value.get("categories") if isinstance(value, dict) else None
    if not isinstance(listed, list) or not listed:
        return None
    result: dict[int, str] = {}
    for number, entry in enumerate(listed):
        identifier, name = (entry.get("id"), entry.get("name")) if isinstance(entry, dict) else (None, None)
        written = _whole(identifier)
        if written is None or not isinstance(name, str) or not name.strip() or result.get(written, name) != name:
            shown = short(json.dumps(entry), 80)
            raise DataError(f"{where}: categories[{number}] is {shown}; expected a number of its own and a name.")
        result[written] = name.strip().encode("utf-8", "replace").decode()
    return result


def _whole(identifier: Any) -> int | None:
    """Return an id as a number; Label Studio writes it as a text where the labelling interface sets it."""
    if type(identifier) is str and identifier.isascii() and identifier.isdigit() and len(identifier) < 10:
        return int(identifier)
    return identifier if type(identifier) is int and 0 <= identifier < 10**9 else None


def _names(listed: Mapping[int, str]) -> str:
    shown = ", ".join(f"{number} '{short(listed[number], 40)}'" for number in sorted(listed)[:SHOWN])
    return shown + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")
