"""What readers ask of folders and text files: in flat memory, and never more than one folder's names at a time."""

from __future__ import annotations

import codecs
import json
import os
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Protocol

from sightline.datasets.types import Folder, hidden, is_folder
from sightline.errors import DataError
from sightline.image_files.images import IMAGE_SUFFIXES
from sightline.rules import Issue

# Images by their names that the engine passes over silently.
FOREIGN_SUFFIXES = (
    *(".gif", ".heic", ".heif", ".avif", ".dng", ".jp2", ".psd", ".svg", ".mpo", ".cr2", ".nef", ".raw", ".jfif"),
    *(".pfm", ".jpe", ".jxl", ".ppm", ".pgm", ".pbm", ".tga", ".exr", ".hdr", ".ico"),
)
ALL_IMAGE_SUFFIXES = (*IMAGE_SUFFIXES, *FOREIGN_SUFFIXES)
READ = (*ALL_IMAGE_SUFFIXES, ".txt", ".xml")  # what readers open later, and report where that fails
LARGEST_TEXT = 2**20  # bytes of a description: data.yaml, obj.data, a list of names; the largest known has 0.6 MiB
FAR = 1e100  # coordinates beyond it are none: in pixels, or multiplied to an area, they might overflow
LONGEST_LINE = 2**15  # bytes of a line in a list file; a path has at most 4096
CHUNK = 2**20
WRAPPERS = 3  # folders around a data set that hold nothing else


def suffix(name: str) -> str:
    """Return the suffix in lower case, with its dot: "" without one."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > name.rfind("/") + 1 else ""


def stem(name: str) -> str:
    """Return a file name without its suffix."""
    dot = name.rfind(".")
    return name[:dot] if dot > 0 else name


def composed(name: str) -> str:
    """Return a name in the Unicode form that most tools write; macOS and its archives decompose: e and an accent."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def folded(stem: str) -> str:
    """Return a stem without what people and tools change: case, white space, underscores, an image's suffix."""
    dot = stem.rfind(".")
    plain = stem[:dot] if dot > 0 and stem[dot:].lower() in ALL_IMAGE_SUFFIXES else stem
    plain = unicodedata.normalize("NFKC", plain.replace("%20", "")).casefold()
    return "".join(c for c in plain if not c.isspace() and c != "_" and unicodedata.category(c) != "Cf")


def existing(path: str) -> str | None:
    """Return the path of a file under this name, or under the same name in another Unicode form."""
    if os.path.isfile(path):
        return path
    folder, _, name = path.rpartition("/")
    if name.isascii():
        return None
    try:
        other = _composed_names(folder, os.stat(folder).st_mtime_ns).get(composed(name))
    except (OSError, ValueError):
        return None
    return f"{folder}/{other}" if other and os.path.isfile(f"{folder}/{other}") else None


@lru_cache(16)
def _composed_names(folder: str, changed: int) -> dict[str, str]:
    """Return the names in a folder that are not ASCII, by their composed form; `changed` tells when it was."""
    with os.scandir(folder) as entries:
        return {composed(entry.name): entry.name for entry in entries if not entry.name.isascii()}


def names(folder: str | Path, suffixes: tuple[str, ...]) -> list[str]:
    """Return the names of the folder's own visible files with one of the suffixes, sorted.

    An image or label that is a link to nothing, to itself or to a device is one of them: its reader says what is
    wrong.
    """
    with os.scandir(folder) as entries:
        kept = [e.name for e in entries if e.name.lower().endswith(suffixes) and e.name[0] != "." and _is_file(e, READ)]
    kept.sort()
    return kept


def _is_file(entry: os.DirEntry[str], read: tuple[str, ...] = ALL_IMAGE_SUFFIXES) -> bool:
    try:
        if entry.is_file():
            return True
        if not entry.is_symlink() or entry.is_dir():
            return False
    except OSError:  # links that lead round in a circle, or that may not be read
        pass
    return entry.name.lower().endswith(read)


def cannot_be_read(where: str, error: OSError) -> Issue:
    """Return what is to say of a label file that cannot be opened."""
    return Issue("label-syntax", where, f"cannot be read: {(error.strerror or str(error)).lower()}")


def some(folder: str | Path, suffixes: tuple[str, ...], most: int) -> Iterator[str]:
    """Yield the paths of a few such files, without reading the whole folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.lower().endswith(suffixes) and entry.name[0] != "." and _is_file(entry):
                yield entry.path
                most -= 1
                if not most:
                    return


def unwrapped(root: Path) -> Path:
    """Return the folder itself, or the one that it only wraps: of a folder that holds nothing but one other folder."""
    for _ in range(WRAPPERS):
        with os.scandir(root) as entries:
            inside = list(islice((entry for entry in entries if not hidden(entry.name)), 2))
        if len(inside) != 1 or not is_folder(inside[0]):
            break
        root = Path(inside[0].path)
    return root


def walk(top: str | Path, *, follow: bool = False) -> Iterator[str]:
    """Yield a folder and all visible folders below it, sorted; also those that links lead to, but each only once."""
    waiting = [os.fspath(top)]
    seen = set()
    while waiting:
        folder = waiting.pop()
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        yield folder
        with os.scandir(folder) as entries:
            below = [e.path for e in entries if not hidden(e.name) and is_folder(e) and (follow or not e.is_symlink())]
        waiting += sorted(below, reverse=True)


def holds_pictures(top: str | Path) -> bool:
    """Tell whether there is an image, of a suffix we read or not, in the folder or below it."""
    return any(next(some(folder, ALL_IMAGE_SUFFIXES, 1), None) for folder in walk(top, follow=True))


def joined(folder: str, name: str) -> str:
    """Return the path of a name below a folder; an absolute name stands for itself."""
    return name if name.startswith("/") else f"{folder}/{name.removeprefix('./')}"


def tidy(path: str) -> str:
    """Take `..` and `//` out of the path of something that exists, unless a link makes that another place."""
    if "/.." not in path and "//" not in path:
        return path
    short = os.path.normpath(path)
    return short if os.path.exists(short) and os.path.samefile(short, path) else path


def fence(folder: Folder) -> Callable[[str], bool]:
    """Return a fast `folder.allows` for paths of files that exist: it resolves a parent folder once, not each file."""
    if folder.fence is None:
        return lambda path: True
    inside = lru_cache(1024)(folder.allows)

    def allows(path: str) -> bool:
        if not inside(os.path.dirname(path)):
            return False
        try:
            return not os.path.islink(path) or folder.allows(path)
        except RuntimeError:  # a link that leads round in a circle: it reaches nothing
            return True

    return allows


def short(text: str, most: int = 200) -> str:
    """Return a stranger's text as one can show it: in storable characters, and not without end."""
    safe = text.encode("utf-8", "replace").decode()
    return safe if len(safe) <= most else f"{safe[: most - 1]}…"


def lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines that are not blank; bytes that are no UTF-8 stay as in file names."""
    with open(path, "rb") as file:
        number = 0
        while line := file.readline(LONGEST_LINE):
            number += 1
            text = os.fsdecode(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line).strip()
            if text:
                yield number, text


def content(path: Path, where: str) -> bytes:
    """Return a small text file's bytes without a byte order mark. Raises DataError for one that is not small."""
    with path.open("rb") as file:
        data = file.read(LARGEST_TEXT + 1)
    if len(data) > LARGEST_TEXT:
        raise DataError(f"{where} is larger than {LARGEST_TEXT >> 20} MiB; expected a short description of a data set.")
    return as_utf8(data)


def as_utf8(data: bytes) -> bytes:
    """Return text without a byte order mark; where that is of UTF-16, as PowerShell writes it, in UTF-8."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace").encode()
    return data.removeprefix(codecs.BOM_UTF8)


class Readable(Protocol):
    """What bytes come from."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes, none at the end."""


class _Recoded:
    """A text file of another encoding, read as UTF-8; what is wrong in it becomes U+FFFD."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self._file, self._decoder = file, codecs.getincrementaldecoder(encoding)("replace")
        self._ready = b""

    def read(self, size: int, /) -> bytes:
        data = b"?"
        while data and not self._ready:
            data = self._file.read(CHUNK)
            self._ready = self._decoder.decode(data, final=not data).encode()
        result, self._ready = self._ready[:size], self._ready[size:]
        return result


@contextmanager
def json_bytes(path: str | Path) -> Iterator[Readable]:
    """Open a JSON file to be read as UTF-8 without a byte order mark: PowerShell writes UTF-16."""
    with open(path, "rb") as file:
        encoding = json.detect_encoding(file.read(4))
        file.seek(len(codecs.BOM_UTF8) if encoding == "utf-8-sig" else 0)
        yield file if encoding.startswith("utf-8") else _Recoded(file, encoding)


def mentions(path: str | Path, words: tuple[bytes, ...]) -> set[bytes]:
    """Return which of the words, of ASCII, are in a file of any size."""
    found: set[bytes] = set()
    overlap = max(map(len, words)) - 1
    with json_bytes(path) as file:
        end = b""
        while (chunk := file.read(CHUNK)) and len(found) < len(words):
            chunk = end + chunk
            found.update(word for word in words if word in chunk)
            end = chunk[-overlap:]
    return found
