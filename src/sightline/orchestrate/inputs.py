"""Which places on this disk a run reads: its data, wherever a description or a link leads, its weights, its pictures.

Containers see only what is mounted. What is not found here, because only a whole scan of the data would find it, is
missing to the stage, which says so by itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from sightline.config import RunConfig
from sightline.datasets import sources
from sightline.datasets.formats.files import lines
from sightline.datasets.formats.image_lookup import ImageFinder
from sightline.datasets.formats.yolo import darknet, data_yaml
from sightline.datasets.formats.yolo import reader as yolo
from sightline.datasets.formats.yolo.yolo_description import Description
from sightline.datasets.types import SYNONYMS, Folder
from sightline.errors import SightlineError
from sightline.storage.files import local_path

LISTED = 1 << 20  # bytes at the start of a COCO file in which names of images are looked for
FILES = 20  # COCO files that are looked into
FILE_NAME = re.compile(rb'"file_name"\s*:\s*("(?:[^"\\]|\\.)*[/\\](?:[^"\\]|\\.)*")')
MOST = 32  # places that are kept apart; more are joined in the folders around them
# Folders that an image has itself: what lies in them can be mounted, they themselves cannot.
SYSTEM = frozenset(
    Path(name)
    for name in (
        *("/", "/bin", "/boot", "/dev", "/dev/shm", "/etc", "/home", "/lib", "/lib32", "/lib64", "/media", "/mnt"),
        *("/opt", "/opt/sightline", "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/bin"),
        *("/usr/lib", "/usr/local", "/usr/share", "/var", "/var/tmp"),
    )
)


def places(data: str, config: RunConfig | None) -> tuple[list[Path], list[Path]]:
    """Return the places that the user named, and others to which these lead; `config` is None for a wrong one.

    A place that does not exist is replaced by the folder around it, so that a message can say what lies there.
    """
    named = [path for path in map(_local, _settings(data, config)) if path]
    around = [path.parent for path in named if not path.exists()]
    named = [path for path in named if path.exists()]
    led = {path for path in [*around, *_described(data, config)] if path.exists()}
    led.update(target for place in [*named, *led] for target in _links(place))
    return named, [path for path in _joined(led, named) if path not in SYSTEM]


def _settings(data: str, config: RunConfig | None) -> Iterator[str]:
    """Yield what may be a path among the settings of a run."""
    home = None
    with contextlib.suppress(SightlineError):
        home = sources.home(data) if data != sources.QUICKSTART else None
    yield str(home or data) if data != sources.QUICKSTART else ""
    if config is None:
        return
    images = config.data.images
    if images and not (home and (home / images).is_dir()):
        yield images
    yield config.sample.pictures or ""
    weights = config.weights.source.removeprefix("file://")
    yield weights if os.path.isfile(os.path.expanduser(weights)) else ""  # noqa: PTH111, PTH113 - see sightline.weights
    if folder := os.environ.get("SIGHTLINE_WEIGHTS"):
        yield folder if Path(folder).is_dir() else ""


def _local(place: str) -> Path | None:
    if not place or ("://" in place and not place.startswith("file://")):
        return None
    with contextlib.suppress(SightlineError, OSError):
        return local_path(place)
    return None


def _described(data: str, config: RunConfig | None) -> Iterator[Path]:
    """Yield the folders outside the data's own that its description, or its annotation files, lead to."""
    with contextlib.suppress(SightlineError, OSError, ValueError):  # validate says what is wrong with them
        root = sources.home(data) if data != sources.QUICKSTART else None
        if root is None:
            return
        file = local_path(data)
        folder = Folder(root, data, file=None if file == root else file)
        yield from (path for path in (*_of_yolo(folder), *_of_images(folder)) if not path.is_relative_to(root))


def _of_yolo(folder: Folder) -> Iterator[Path]:
    for file in [folder.file] if folder.file else yolo.find(folder.root):
        with contextlib.suppress(SightlineError, OSError):
            if file.suffix.lower() in (".yaml", ".yml"):
                described = data_yaml.describe(folder, file)
            elif file.suffix.lower() == ".data":
                described = darknet.describe(folder, file)
            else:
                continue
            yield from described.bases
            yield from _of_splits(described)


def _of_splits(described: Description) -> Iterator[Path]:
    for place in (place for found in described.places.values() for place in found):
        if place.is_dir():
            yield _with_labels(place)
        else:
            yield place.parent
            folders = {os.path.dirname(line) for _, line in lines(place)}  # noqa: PTH120 - there may be a million
            yield from (_with_labels(Path(folder)) for folder in folders if os.path.isabs(folder))  # noqa: PTH117


def _of_images(folder: Folder) -> Iterator[Path]:
    """Yield the folders beside and around annotations of COCO or VOC in which their images are looked for."""
    names = [name for names in SYNONYMS.values() for name in names]
    finder = ImageFinder(folder, folder.root, None, names)
    yield from map(Path, finder.folders)
    homes = [folder.root, *(path for path in folder.root.iterdir() if path.name.lower() == "annotations")]
    files = [folder.file] if folder.file else [file for home in homes for file in sorted(home.glob("*.json"))[:FILES]]
    for file in files:
        if file.suffix.lower() == ".json":
            with file.open("rb") as opened:
                found = {str(json.loads(text)) for text in FILE_NAME.findall(opened.read(LISTED))}
            near = {os.path.dirname(name) for name in found}  # noqa: PTH120
            starts = dict.fromkeys((*finder.folders, str(folder.root), str(file.parent)))
            yield from (Path(os.path.normpath(f"{start}/{name}")) for name in near for start in starts if ".." in name)
            yield from (Path(name) for name in near if name.startswith("/"))


def _with_labels(images: Path) -> Path:
    """Return the folder that holds images and, where they lie in `images`, their labels beside that."""
    parts = images.parts
    last = max((index for index, part in enumerate(parts) if part == "images"), default=0)
    around = Path(*parts[:last]) if last else images
    return images if around in SYSTEM else around


def _links(place: Path) -> Iterator[Path]:
    """Yield where links at and below a place lead, if that is outside; of files the folders that hold them."""
    waiting = [str(place)] if place.is_dir() else []
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if not entry.is_symlink():
                    waiting += [entry.path] if entry.is_dir(follow_symlinks=False) else []
                    continue
                for target in _hops(entry.path):
                    outside = not target.is_relative_to(place)
                    if outside and target.exists():
                        yield target if target.is_dir() or target.parent in SYSTEM else target.parent


def _hops(link: str) -> Iterator[Path]:
    """Yield every path on the way of a link, its end included."""
    for _ in range(40):  # as many as the kernel follows
        if not os.path.islink(link):  # noqa: PTH114 - there may be a million
            return
        link = os.path.normpath(os.path.join(os.path.dirname(link), os.readlink(link)))  # noqa: PTH115, PTH118, PTH120
        yield Path(link)


def _joined(paths: Iterable[Path], inside: Iterable[Path]) -> list[Path]:
    """Leave out what lies in another place, and join what is too many to be mounted one by one."""
    left = {path for path in paths if path not in SYSTEM}
    while True:
        outer = {path for path in left if not any(parent in left for parent in path.parents)}
        outer = {path for path in outer if not any(path.is_relative_to(place) for place in inside)}
        if len(outer) <= MOST:
            return sorted(outer)
        deepest = max(len(path.parts) for path in outer)
        left = {path.parent if len(path.parts) == deepest else path for path in outer} - SYSTEM
