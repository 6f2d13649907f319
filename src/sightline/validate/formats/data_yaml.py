"""data.yaml, as the tools of the YOLO world write it: splits, class names, and paths that are often a little wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sightline.artifacts import Split
from sightline.errors import DataError
from sightline.validate.dataset import SYNONYMS, Folder, Found
from sightline.validate.formats.description import Description, Names, numbered, sibling, texts
from sightline.validate.formats.files import content, holds_pictures, short, tidy

NUMBER = re.compile(r"\d{1,9}")


class Place(NamedTuple):
    """A folder or list file, and whether it lies where data.yaml says."""

    path: Path
    as_written: bool


def describe(folder: Folder, path: Path) -> Description:
    """Read a data.yaml. Raises DataError with all that makes it unusable."""
    return _DataYaml(folder, path).describe()


class _GivenTwiceError(Exception):
    """A key has two values; says where and which."""


class _Loader(yaml.BaseLoader):
    """YAML without keys that are given twice for different values: which of two is meant, nobody can say."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                name = str(int(key.value)) if NUMBER.fullmatch(key.value) else key.value
                before = seen.setdefault(name, value)
                if before is not value and not (isinstance(value, yaml.ScalarNode) and value.value == before.value):
                    raise _GivenTwiceError(f"{key.start_mark.line + 1}: '{name}' is given twice")
        return super().construct_mapping(node, deep)


def load(folder: Folder, path: Path) -> dict[str, Any]:
    """Return the settings with every scalar as the text that was typed: a class called `no` stays `no`.

    Raises DataError if it is not YAML, or no mapping.
    """
    where = f"{folder.name}/{folder.relative(path)}"
    try:
        values = yaml.load(content(path, where), Loader=_Loader)
    except _GivenTwiceError as problem:
        raise DataError(f"{where}:{problem}, each time for something else; expected it once.") from None
    except (yaml.YAMLError, ValueError, OverflowError) as problem:  # the last two: bytes, and escapes beyond Unicode
        raise DataError(f"{where} is not YAML: {short(' '.join(str(problem).split()), 500)}") from None
    except RecursionError:
        raise DataError(f"{where} is not YAML that can be read: it nests too deep.") from None
    if not isinstance(values, dict):
        raise DataError(f"{where} holds no settings; expected train, val, test, nc and names.")
    return values


class _DataYaml:
    def __init__(self, folder: Folder, path: Path) -> None:
        self.folder = folder
        self.shown = folder.relative(path)
        self.where = f"{folder.name}/{self.shown}"
        self.values = load(folder, path)
        home = self.values.get("path")
        bases = (path.parent / home if isinstance(home, str) and "\0" not in home else path.parent, path.parent)
        self.bases = [base for base in dict.fromkeys(bases) if folder.allows(base)]
        self.written = bases[0]

    def describe(self) -> Description:
        names = self._names()
        found: list[Found] = []
        return Description(names, self._places(found), self.bases, found)

    def _places(self, found: list[Found]) -> dict[Split | None, list[Path]]:
        """Return the folders and list files of each split; what data.yaml names must exist, and hold something."""
        result: dict[Split | None, list[Path]] = {}
        problems: list[str] = []
        for split in SYNONYMS:
            key = next((key for key in SYNONYMS[split] if _given(self.values.get(key))), None)
            if key:
                result[split] = self._named(split, key, problems, found)
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
            raise DataError(f"{self.where} names no split; expected at least `train: <folder of images>`.")
        return result

    def _named(self, split: Split, key: str, problems: list[str], found: list[Found]) -> list[Path]:
        value = self.values[key]
        places: list[Path] = []
        mended: list[str] = []
        for text in value if isinstance(value, list) else [value]:
            if not isinstance(text, str):
                problems.append(f"{key}: expected a path, or a list of paths")
                continue
            place = self._resolve(text, split)
            if place is None:
                problems.append(f"{key}: '{short(text)}' is no folder and no list file")
            elif place.path.is_dir() and not holds_pictures(place.path):
                problems.append(f"{key}: '{short(text)}' is a folder without images")
            else:
                places.append(place.path)
                if not place.as_written or (text.startswith("../") and not place.path.is_relative_to(self.folder.root)):
                    why = "leads out of the source" if place.as_written else "leads nowhere as it is written"
                    mended.append(f"'{short(text)}' {why}; took {self.folder.relative(place.path)}")
        if mended:
            found.append(Found("data-path", self.shown, f"{key}: {'; '.join(mended)}"))
        return _outermost(places)

    def _resolve(self, value: str, split: Split) -> Place | None:
        """Find a path as YOLO tools write it: below `path`, beside data.yaml, or with a `../` too many."""
        if "\0" in value:
            return None
        plain = value
        while plain.startswith(("../", "./")):
            plain = plain.split("/", 1)[1]
        for text in dict.fromkeys((value, plain)):
            for variant in _variants(text, split):
                for base in self.bases:
                    path = base / variant
                    if _exists(path) and self.folder.allows(path):
                        return Place(Path(tidy(str(path))), path == self.written / value)
        return None

    def _names(self) -> Names:
        """Return the class names. Raises DataError if they are missing, or not as many as nc says."""
        names = self.values.get("names")
        if isinstance(names, dict):
            keys = list(names)
            if not all(isinstance(key, str) and NUMBER.fullmatch(key) for key in keys):
                raise DataError(f"{self.where}: names has keys that are no numbers; expected `names: {{0: first}}`.")
            listed = dict(zip(map(int, keys), texts(self.where, list(names.values())), strict=True))
        else:
            listed = dict(enumerate(texts(self.where, names)))
        count = self.values.get("nc")
        if isinstance(count, str) and _given(count) and count not in (str(len(listed)), str(max(listed) + 1)):
            raise DataError(
                f"{self.where}: nc is {short(count)}, and names has {len(listed)} entries "
                f"({short(', '.join(listed.values()), 500)}). Correct the one that is wrong."
            )
        return numbered(self.shown, listed)


def _exists(path: Path) -> bool:
    try:
        return path.is_dir() or (path.suffix == ".txt" and path.is_file())
    except OSError:  # a name too long for the file system
        return False


def _given(value: Any) -> bool:
    return value not in (None, "", "null", "~", [])


def _variants(text: str, split: Split) -> list[str]:
    """Return the path, and the path with each synonym of the split in place of the one it has."""
    parts = text.split("/")
    result = [text]
    for index, part in enumerate(parts):
        if part in SYNONYMS[split]:
            result += ["/".join([*parts[:index], other, *parts[index + 1 :]]) for other in SYNONYMS[split]]
    return result


def _outermost(places: list[Path]) -> list[Path]:
    """Leave out what is named twice: the same place, and folders in folders."""
    once = list(dict.fromkeys(places))
    return [place for place in once if not any(other in place.parents for other in once)]
