"""Streams a COCO JSON file of any size, entry by entry, in flat memory."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import ijson  # type: ignore[import-untyped]

from sightline.errors import DataError

LISTS = ("images", "annotations", "categories")
MOST = 64  # numbers of a bbox that are kept to be shown
BOM = b"\xef\xbb\xbf"
CHUNK = 2**16

Event = tuple[str, Any]
Record = dict[str, Any]


def lists(path: Path, where: str) -> Iterator[tuple[str, Iterator[Record]]]:
    """Yield images, annotations and categories with their entries, in the order of the file; read each to its end.

    Of an entry's values, scalars are kept, `bbox` is a list, and of anything else is kept whether it is empty.
    Raises DataError: not JSON (with line and column), or not these three lists of objects.
    """
    seen = set()
    events = _events(path, where)
    if next(events)[0] != "start_map":
        raise DataError(f"{where}: expected a JSON object with the COCO lists {', '.join(LISTS)}.")
    for event, key in events:
        if event == "end_map":
            break
        start, _ = next(events)
        if key not in LISTS:
            _passed(events, start)
        elif start != "start_array":
            raise _no_list(where, key)
        else:
            seen.add(key)
            yield key, _records(events, where, key)
    for _ in events:
        pass  # what may follow the object is an error
    for name in LISTS:
        if name not in seen:
            raise _no_list(where, name)


def check(path: Path, where: str) -> None:
    """Raise DataError with line and column if the file is not JSON."""
    for _ in _events(path, where):
        pass


def _no_list(where: str, name: str) -> DataError:
    return DataError(f"{where}: '{name}' is not a list of objects; expected the COCO lists {', '.join(LISTS)}.")


def _records(events: Iterator[Event], where: str, name: str) -> Iterator[Record]:
    for event, _ in events:
        if event == "end_array":
            return
        if event != "start_map":
            raise _no_list(where, name)
        record: Record = {}
        for kind, key in events:
            if kind == "end_map":
                break
            start, value = next(events)
            if start == "start_array" and key == "bbox":
                record[key] = _flat(events)
            elif start == "start_array" or start == "start_map":
                record[key] = _passed(events, start)
            else:
                record[key] = value
        yield record


def _flat(events: Iterator[Event]) -> list[Any]:
    """Return the scalars of a list; a list in it stays as an empty one."""
    values: list[Any] = []
    for event, value in events:
        if event == "end_array":
            break
        if event == "start_array" or event == "start_map":
            _passed(events, event)
            value = []
        if len(values) < MOST:
            values.append(value)
    return values


def _passed(events: Iterator[Event], start: str) -> bool:
    """Pass over a value; tell whether there was a scalar in it. Does not recurse: files may nest without end."""
    if start != "start_array" and start != "start_map":
        return True
    depth, filled = 1, False
    for event, _ in events:
        if event == "number":
            filled = True
        elif event == "start_array" or event == "start_map":
            depth += 1
        elif event == "end_array" or event == "end_map":
            depth -= 1
            if not depth:
                break
        elif event != "map_key":
            filled = True
    return filled


class _Reader:
    """A file as the parser reads it, byte by byte from `careful` on, so that its position tells where it stopped."""

    def __init__(self, file: BinaryIO, careful: int | None = None) -> None:
        self._file, self._careful = file, careful
        self.before = self.position = 0
        if file.read(len(BOM)) == BOM:
            self.position = len(BOM)
        else:
            file.seek(0)

    def read(self, size: int) -> bytes:
        if self._careful is not None:
            size = min(size, max(1, self._careful - self.position))
        data = self._file.read(size)
        if data:
            self.before = self.position
            self.position += len(data)
        return data


def _events(path: Path, where: str) -> Iterator[Event]:
    with path.open("rb") as file:
        reader = _Reader(file)
        try:
            yield from ijson.basic_parse(reader, buf_size=CHUNK, use_float=True)
        except ijson.JSONError as problem:
            line, column = _place(path, reader.before)
            raise DataError(f"{where}:{line}: not JSON: {_reason(problem)} at column {column}.") from None
        except UnicodeDecodeError:  # the parser passes over "\\udfff" on its own, and cannot make text of it
            line, column = _place(path, reader.before)
            message = "half a surrogate pair stands for no character, in the text that ends"
            raise DataError(f"{where}:{line}: not JSON: {message} at column {column}.") from None


def _place(path: Path, careful: int) -> tuple[int, int]:
    """Return line and column of the first byte that is wrong, which lies behind the byte `careful`."""
    with path.open("rb") as file:
        reader = _Reader(file, careful)
        with contextlib.suppress(ijson.JSONError, UnicodeDecodeError):
            for _ in ijson.basic_parse(reader, buf_size=CHUNK, use_float=True):
                pass
        wrong = reader.position
        file.seek(0)
        lines, start, position = 1, 0, 0
        while position < wrong and (chunk := file.read(min(CHUNK, wrong - position))):
            lines += chunk.count(b"\n")
            if b"\n" in chunk:
                start = position + chunk.rindex(b"\n") + 1
            position += len(chunk)
    return lines, max(1, wrong - start)


def _reason(problem: Exception) -> str:
    """Return the parser's words without its picture of the place."""
    first = re.split(r"\n|\\n", str(problem).removeprefix("b'"))[0]
    return first.removeprefix("parse error: ").removeprefix("lexical error: ").strip(" .")
