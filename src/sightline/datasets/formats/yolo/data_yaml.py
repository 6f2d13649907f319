"""data.yaml, as the tools of the YOLO world write it: splits, class names, and paths that are often a little wrong."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

from sightline import strict_yaml
from sightline.datasets.formats.files import content, short, tidy
from sightline.datasets.formats.foreign_paths import ends, slashed
from sightline.datasets.formats.yolo import darknet
from sightline.datasets.formats.yolo.split_paths import Resolver
from sightline.datasets.formats.yolo.yolo_description import Description, Names, numbered, sibling, texts
from sightline.datasets.types import SYNONYMS, Folder
from sightline.documents import Split
from sightline.errors import DataError
from sightline.rules import Issue

NUMBER = re.compile(r"\d{1,9}")


def describe(folder: Folder, path: Path) -> Description:
    """Read a data.yaml. Raises DataError with all that makes it unusable."""
    return _DataYaml(folder, path).describe()


def load(folder: Folder, path: Path) -> dict[str, Any]:
    """Return the settings with every scalar as the text that was typed: a class called `no` stays `no`.

    Raises DataError if it is not YAML, or no mapping.
    """
    where = f"{folder.name}/{folder.relative(path)}"
    try:
        values = strict_yaml.parse_texts(content(path, where))
    except ValueError as problem:
        raise DataError(f"{where} is not YAML that can be read: {short(str(problem), 500)}.") from None
    if not isinstance(values, dict):
        raise DataError(f"{where} holds no settings; expected train, val, test, nc and names.")
    return values


class _DataYaml:
    def __init__(self, folder: Folder, path: Path) -> None:
        self.folder = folder
        self.shown = folder.relative(path)
        self.where = f"{folder.name}/{self.shown}" if path != folder.file else folder.name
        self.values = self._settings(load(folder, path))
        self.beside = path.parent
        self.issues: list[Issue] = []
        self.bases = self._bases(self.values.get("path"))
        self.resolver = Resolver(folder, self.bases)

    def describe(self) -> Description:
        names = self._names()
        return Description(names, self._places(), self.bases, self.issues)

    def _settings(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return the settings by keys in lower case. Raises DataError for one with two values in two spellings."""
        result: dict[str, Any] = {}
        for key, value in values.items():
            name = key.lower() if isinstance(key, str) else key
            if result.setdefault(name, value) != value:
                raise DataError(f"{self.where}: '{name}' is given twice, in two spellings; expected it once.")
        return result

    def _keys(self) -> str:
        return short(", ".join(map(str, self.values)), 500)

    def _bases(self, home: Any) -> list[Path]:
        """Return where paths start: at `path`, and beside data.yaml, where most tools look besides."""
        if not isinstance(home, str) or not _given(home) or "\0" in home:
            return [self.beside]
        for text in dict.fromkeys((home, slashed(home))):
            base = Path(tidy(str(self.beside / text)))
            if _is_folder(base) and self.folder.allows(base):
                return list(dict.fromkeys((base, self.beside)))
        self.issues.append(
            Issue("data-path", self.shown, f"path: '{short(home)}' leads nowhere; took the folder of {self.shown}")
        )
        return [self.beside]

    def _places(self) -> dict[Split | None, list[Path]]:
        """Return the folders and list files of each split; what data.yaml names must exist, and hold something."""
        result: dict[Split | None, list[Path]] = {}
        problems: list[str] = []
        took: dict[Path, tuple[str, str]] = {}  # what was found where it is not written, by key and text
        for split in SYNONYMS:
            keys = [key for key in SYNONYMS[split] if _given(self.values.get(key))]
            if len({str(self.values[key]) for key in keys}) > 1:
                problems.append(
                    f"{' and '.join(keys)} are the same split, and lead to two places; expected one of them"
                )
            elif keys:
                result[split] = self._named(split, keys[0], problems, took)
            elif beside := sibling(self.bases, split):
                result[split] = beside
        if problems:
            raise DataError(
                f"{self.where} names splits that are missing or empty (looked below "
                f"{' and '.join(str(base) for base in self.bases)}). Put the images there, or remove the key, and the "
                "split is made from train by content hash:",
                problems,
            )
        if not result:
            raise DataError(
                f"{self.where} names no split; expected at least `train: <folder of images>`. "
                f"Its keys are {self._keys()}."
            )
        return result

    def _named(self, split: Split, key: str, problems: list[str], took: dict[Path, tuple[str, str]]) -> list[Path]:
        value = self.values[key]
        places: list[Path] = []
        changed: list[str] = []
        for text in value if isinstance(value, list) else [value]:
            if not isinstance(text, str):
                problems.append(f"{key}: expected a path, or a list of paths")
                continue
            place = self.resolver.place(text, split)
            if isinstance(place, str):
                problems.append(f"{key}: '{short(text)}' {place}")
                continue
            if place.how and took.setdefault(place.path, (key, text))[1] != text:
                other = took[place.path][0]
                problems.append(
                    f"{key}: '{short(text)}' leads nowhere, and all that is like it is the place of {other}"
                )
                continue
            places.append(place.path)
            if place.how:
                changed.append(f"'{short(text)}' {place.how}; took {self.folder.relative(place.path)}")
        if changed:
            self.issues.append(Issue("data-path", self.shown, f"{key}: {'; '.join(changed)}"))
        return _outermost(places)

    def _beside(self, name: str) -> Path | None:
        """Return the file that a text names, below one of the bases; older tools keep class names in one."""
        with contextlib.suppress(OSError, ValueError):  # a name too long for the file system, or no name at all
            paths = [base / end for end in ends(name) for base in self.bases]
            return next((path for path in paths if path.is_file() and self.folder.allows(path)), None)
        return None

    def _names(self) -> Names:
        """Return the class names. Raises DataError if they are missing, or not as many as nc says."""
        names = self.values.get("names")
        if isinstance(names, str) and (listed_in := self._beside(names)):
            return darknet.read_names(self.folder, listed_in)
        if isinstance(names, dict):
            keys = list(names)
            if not all(isinstance(key, str) and NUMBER.fullmatch(key) for key in keys):
                raise DataError(f"{self.where}: names has keys that are no numbers; expected `names: {{0: first}}`.")
            listed = dict(zip(map(int, keys), texts(self.where, list(names.values())), strict=True))
        else:
            if not _given(names):
                raise DataError(
                    f"{self.where} has no class names; expected `names: [first, second]` or `names: {{0: first}}`. "
                    f"Its keys are {self._keys()}."
                )
            listed = dict(enumerate(texts(self.where, names)))
        count = self.values.get("nc")
        if isinstance(count, str) and _given(count) and count not in (str(len(listed)), str(max(listed) + 1)):
            raise DataError(
                f"{self.where}: nc is {short(count)}, and names has {len(listed)} entries "
                f"({short(', '.join(listed.values()), 500)}). Correct the one that is wrong."
            )
        return numbered(self.shown, listed)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long for the file system
        return False


def _given(value: Any) -> bool:
    return value not in (None, "", "null", "~", [])


def _outermost(places: list[Path]) -> list[Path]:
    """Leave out what is named twice: the same place, and folders in folders."""
    once = list(dict.fromkeys(places))
    return [place for place in once if not any(other in place.parents for other in once)]
