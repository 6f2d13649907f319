"""Streams a COCO JSON file of any size, entry by entry, in flat memory."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import starmap
from pathlib import Path
from typing import Any

import ijson  # type: ignore[import-untyped]

from sightline.datasets.formats.files import Readable, json_bytes, mentions
from sightline.errors import DataError

LISTS = ("images", "annotations", "categories")
MOST = 64  # numbers of a bbox that are kept to be shown
CHUNK = 2**16
ENDLESS = (b"NaN", b"Infinity")
NAN, INFINITE = "\x7f", 1.79e308  # a string and a number that no file has
STAND_INS = {b"NaN": b'"\x7f"', b"Infinity": b"1.79e308"}  # of the same length, so that places stay
MARK = re.compile(rb'"|NaN|Infinity|Na?\Z|I(?:n(?:f(?:i(?:n(?:it?)?)?)?)?)?\Z')
IN_STRING = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)

Event = tuple[str, Any]
Record = dict[str, Any]


class NumberOverflow(Exception):
    """A number is beyond 64 bits; reading exactly, which takes several times as long, it is one."""


def lists(path: Path, where: str, *, exact: bool = False) -> Iterator[tuple[str, Iterator[Record]]]:
    """Yield images, annotations and categories with their entries, in the order of the file; read each to its end.

    Of an entry's values, scalars are kept, `bbox` is a list, and of anything else is kept whether it is empty.
    Raises DataError: not JSON (with line and column), or not these three lists of objects; NumberOverflow, if not
    `exact`.
    """
    seen = set()
    events = _events(path, where, exact)
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
    try:
        for _ in _events(path, where, exact=False):
            pass
    except NumberOverflow:
        for _ in _events(path, where, exact=True):
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


class _Python:
    """A file with NaN and Infinity, which Python writes and JSON lacks: each is replaced by something as long.

    `_number` takes it back.
    """

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._raw = self._ready = b""
        self._inside = False  # of a string

    def read(self, size: int, /) -> bytes:
        data = b"?"
        while data and not self._ready:
            data = self._file.read(CHUNK)
            self._ready = self._replaced(self._raw + data, ended=not data)
        result, self._ready = self._ready[:size], self._ready[size:]
        return result

    def _replaced(self, data: bytes, *, ended: bool) -> bytes:
        """Return what is certain; half a word or half an escape at the end waits for more."""
        done: list[bytes] = []
        place = 0
        while place < len(data):
            if self._inside:
                end = IN_STRING.match(data, place).end()  # type: ignore[union-attr]  # matches nothing, too
                self._inside = data[end : end + 1] != b'"'
                end += not self._inside
                done.append(data[place:end])
                place = end
                if self._inside:
                    break
                continue
            mark = MARK.search(data, place)
            if mark is None:
                done.append(data[place:])
                place = len(data)
                break
            done.append(data[place : mark.start()])
            place = mark.start()
            if mark[0] != b'"' and mark[0] not in STAND_INS and not ended:
                break
            self._inside = mark[0] == b'"'
            done.append(STAND_INS.get(mark[0], mark[0]))
            place = mark.end()
        self._raw = b"" if ended else data[place:]
        return b"".join((*done, data[place:])) if ended else b"".join(done)


def _number(event: str, value: Any) -> Event:
    """Return the number that a stand-in stands for, and a float for a decimal number; too large a one is endless."""
    if type(value) is Decimal:
        value = float(value)
    if event == "string" and value == NAN:
        return "number", math.nan
    if event == "number" and abs(value) == INFINITE:
        return event, math.copysign(math.inf, value)
    return event, value


class _Reader:
    """A file as the parser reads it, byte by byte from `careful` on, so that its position tells where it stopped."""

    def __init__(self, file: Readable, endless: bool, careful: int | None = None) -> None:
        self._careful = careful
        self.before = self.position = 0
        self._file = _Python(file) if endless else file

    def read(self, size: int) -> bytes:
        if self._careful is not None:
            size = min(size, max(1, self._careful - self.position))
        data = self._file.read(size)
        if data:
            self.before = self.position
            self.position += len(data)
        return data


def _events(path: Path, where: str, exact: bool) -> Iterator[Event]:
    endless = bool(mentions(path, ENDLESS))
    with json_bytes(path) as file:
        reader = _Reader(file, endless)
        try:
            events = ijson.basic_parse(reader, buf_size=CHUNK, use_float=not exact)
            yield from starmap(_number, events) if endless or exact else events
        except ijson.JSONError as problem:
            if not exact and "overflow" in _reason(problem):
                raise NumberOverflow from None
            line, column = _place(path, endless, reader.before)
            raise DataError(f"{where}:{line}: not JSON: {_reason(problem)} at column {column}.") from None
        except UnicodeDecodeError:  # the parser passes over "\\udfff" on its own, and cannot make text of it
            line, column = _place(path, endless, reader.before)
            message = "half a surrogate pair stands for no character, in the text that ends"
            raise DataError(f"{where}:{line}: not JSON: {message} at column {column}.") from None
        except (ValueError, ArithmeticError):  # thousands of digits
            raise DataError(f"{where}: holds a number that is too long to be read.") from None


def _place(path: Path, endless: bool, careful: int) -> tuple[int, int]:
    """Return line and column of the first byte that is wrong, which lies behind the byte `careful`."""
    with json_bytes(path) as file:
        reader = _Reader(file, endless, careful)
        with contextlib.suppress(ijson.JSONError, ValueError, ArithmeticError):
            for _ in ijson.basic_parse(reader, buf_size=CHUNK):
                pass
        wrong = reader.position
    with json_bytes(path) as file:
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
