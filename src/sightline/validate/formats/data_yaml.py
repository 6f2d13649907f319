"""data.yaml, as the tools of the YOLO world write it: splits, class names, and paths that are often a little wrong."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from sightline.artifacts import Problem, Split
from sightline.errors import DataError
from sightline.validate.dataset import SYNONYMS, Folder, error, is_image


class Description:
    """A data.yaml, read with every scalar as the text that was typed: a class called `no` stays `no`."""

    def __init__(self, folder: Folder, path: Path) -> None:
        """Read the file. Raises DataError if it is not YAML, or its class names are missing or contradictory."""
        self.folder, self.path = folder, path
        self.where = f"{folder.name}/{folder.relative(path)}"
        try:
            values = yaml.load(path.read_bytes(), Loader=yaml.BaseLoader)
        except (yaml.YAMLError, UnicodeDecodeError) as problem:
            raise DataError(f"{self.where} is not YAML: {' '.join(str(problem).split())}") from None
        if not isinstance(values, dict):
            raise DataError(f"{self.where} holds no settings; expected train, val, test, nc and names.")
        self.values: dict[str, Any] = values
        self.names = _names(self.where, values)
        home = path.parent / str(values.get("path") or ".")
        self.bases = [base for base in dict.fromkeys((home, path.parent)) if folder.allows(base)]

    def splits(self) -> dict[Split, list[Path]]:
        """Return the folders and list files of each split; what data.yaml names must exist, and hold something."""
        result: dict[Split, list[Path]] = {}
        problems = []
        for split in SYNONYMS:
            key = next((key for key in SYNONYMS[split] if _given(self.values.get(key))), None)
            if key is None:
                places = self._sibling(split)
                if places:
                    result[split] = places
                continue
            values = self.values[key] if isinstance(self.values[key], list) else [self.values[key]]
            result[split] = []
            for value in values:
                place = self._resolve(str(value), split)
                if place is None:
                    problems.append(f"{key}: '{value}' is no folder and no list file")
                elif place.is_dir() and not any(is_image(path) for path in place.rglob("*")):
                    problems.append(f"{key}: '{value}' is a folder without images")
                else:
                    result[split].append(place)
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

    def _resolve(self, value: str, split: Split) -> Path | None:
        """Find a path as YOLO tools write it: below `path`, beside data.yaml, or with a `../` too many."""
        plain = value
        while plain.startswith(("../", "./")):
            plain = plain.split("/", 1)[1]
        for text in dict.fromkeys((value, plain)):
            for variant in _variants(text, split):
                for base in self.bases:
                    path = base / variant
                    if (path.is_dir() or (path.is_file() and path.suffix == ".txt")) and self.folder.allows(path):
                        return path
        return None

    def _sibling(self, split: Split) -> list[Path]:
        """Return the split's folder where data.yaml is silent about it."""
        for base in self.bases:
            for name in SYNONYMS[split]:
                for path in (base / name / "images", base / "images" / name, base / name):
                    if path.is_dir() and any(is_image(p) for p in path.iterdir()):
                        return [path]
        return []

    def images(self, places: Iterable[Path], problems: list[Problem]) -> list[Path]:
        """Return the images of a split, each once; lines of a list file that lead nowhere become problems."""
        result: dict[Path, None] = {}
        for place in places:
            if place.is_dir():
                result.update(dict.fromkeys(sorted(p for p in place.rglob("*") if is_image(p) and p.is_file())))
                continue
            for number, line in enumerate(place.read_text(encoding="utf-8-sig", errors="replace").splitlines(), 1):
                if line.strip():
                    image = self._listed(place.parent, line.strip())
                    if image:
                        result[image] = None
                    else:
                        where = f"{self.folder.relative(place)}:{number}"
                        problems.append(error("missing-image", where, f"'{line.strip()}' is not there"))
        return list(result)

    def _listed(self, beside: Path, line: str) -> Path | None:
        for base in (beside, *self.bases):
            path = base / line
            if path.is_file() and self.folder.allows(path):
                return path
        return None

    def label_path(self, image: Path) -> Path:
        """Swap the last `images` folder below the data set for `labels`; without one, labels lie beside images."""
        root = next((base for base in (self.folder.root, *self.bases) if image.is_relative_to(base)), Path("/"))
        parts = list(image.relative_to(root).parts)
        for index in range(len(parts) - 2, -1, -1):
            if parts[index] == "images":
                parts[index] = "labels"
                break
        return root.joinpath(*parts).with_suffix(".txt")


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


def _names(where: str, values: dict[str, Any]) -> list[str]:
    """Return the class names in order. Raises DataError if they are missing, doubled, or not what nc says."""
    names = values.get("names")
    if isinstance(names, dict):
        expected = [str(index) for index in range(len(names))]
        if sorted(names) != sorted(expected):
            raise DataError(
                f"{where}: names has the keys {', '.join(map(str, names))}; expected 0 to {len(names) - 1}."
            )
        names = [names[key] for key in expected]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise DataError(f"{where} has no class names; expected `names: [first, second]` or `names: {{0: first}}`.")
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DataError(f"{where}: names has {', '.join(doubled)} more than once; expected different names.")
    if _given(values.get("nc")) and str(values["nc"]) != str(len(names)):
        raise DataError(
            f"{where}: nc is {values['nc']}, and names has {len(names)} entries ({', '.join(names)}). "
            "Correct the one that is wrong."
        )
    return names
