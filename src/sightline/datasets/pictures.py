"""A place of pictures without labels, as a person has them: some of its images, on the local disk."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

import numpy as np

from sightline.datasets import archives, sources
from sightline.errors import DataError, SightlineError
from sightline.image_files.folders import images_below
from sightline.image_files.images import IMAGE_SUFFIXES
from sightline.storage import Transfer, open_store
from sightline.storage.files import local_path

SETTING = "sample.pictures"
EXPECTED = "a folder or an archive of images, or s3://bucket/prefix"
Item = TypeVar("Item")


class Pictures(NamedTuple):
    """Images of a place: those that were taken, and how many there are."""

    files: dict[str, Path]  # name within the place -> file on this disk, gone when the place is closed
    found: int


@contextlib.contextmanager
def opened(place: str, most: int) -> Iterator[Pictures]:
    """Yield at most so many images of a folder, an archive or a bucket, evenly spread by name.

    Of a prefix in a bucket only these are fetched. Raises DataError: nothing there, no image, an archive that cannot be
    unpacked; StorageError from the store.
    """
    with contextlib.ExitStack() as stack:
        with named():
            _check_kind(place)
        if _is_prefix(place):
            root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sightline-pictures-")))
            with named():
                names = _keys(place)
                files = {name: root / name for name in spread(names, most)}
                open_store(place.rstrip("/")).download([Transfer(name, path) for name, path in files.items()])
        else:
            root = stack.enter_context(sources.folder(place, SETTING))
            paths = images_below(root)[0]
            names = [_shown(path.relative_to(root)) for path in paths]
            files = dict(spread(list(zip(names, paths, strict=True)), most))
            if not files:
                with named():
                    raise _no_images(place)
        yield Pictures(files, len(names))


def check(place: str, most: int) -> None:
    """Raise DataError or StorageError for a place whose pictures cannot be shown, before anything else is done.

    A bucket is only listed. Of a place on this disk the `most` images that would be shown are tried, in a folder or out
    of an archive, until one can be read.
    """
    with named():
        _check_kind(place)
        if _is_prefix(place):
            _keys(place)
        elif place.startswith("s3://"):
            folder, _, name = place.rstrip("/").rpartition("/")
            if not open_store(folder).exists(name):
                raise DataError(f"{place} does not exist.")
        elif (path := local_path(place)).is_dir():
            files = images_below(path)[0]
            _try(place, {_shown(file.relative_to(path)): file for file in spread(files, most)}, len(files))
        else:
            with tempfile.TemporaryDirectory(prefix="sightline-pictures-") as folder:
                _try_archive(place, path, Path(folder), most)


def none_readable(place: str, reasons: Sequence[str], found: int) -> DataError:
    """Return the error for a place none of whose images that were taken, of so many found, can be read."""
    return DataError(f"none of the {len(reasons)} images taken of {found} in {place} can be read:", reasons)


def _check_kind(place: str) -> None:
    """Raise DataError for what is no place of pictures by its name or kind."""
    sources.look(place, EXPECTED)
    archives.check_kind(place)
    if place.startswith("s3://"):
        return
    path = local_path(place)
    if not path.is_dir() and not path.name.lower().endswith(archives.SUFFIXES):
        what = "is an image" if path.name.lower().endswith(IMAGE_SUFFIXES) else "is no folder and no archive"
        raise DataError(f"{place} {what}; expected {EXPECTED}.")


def _try_archive(place: str, archive: Path, folder: Path, most: int) -> None:
    """List an archive, which checks the name of every member, and unpack the images that are tried."""
    members = {PurePosixPath(name): name for name in archives.names(archive, folder, place)}
    images = sorted(path for path in members if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != ".")
    taken = {str(path): folder / path for path in spread(images, most)}
    archives.unpack(archive, folder, place, {members[PurePosixPath(name)] for name in taken}.__contains__)
    _try(place, taken, len(images))


def _try(place: str, files: Mapping[str, Path], found: int) -> None:
    """Read images until one can be read. Raises DataError if none can, or there is none."""
    from sightline.preprocess import read_image  # loads OpenCV, which a run without pictures does not need here

    if not files:
        raise _no_images(place)
    reasons = []
    for name, path in files.items():
        try:
            read_image(path)
        except DataError as error:
            reasons.append(error.message.replace(str(path), name))
        else:
            return
    raise none_readable(place, reasons, found)


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """Return so many items of a list, evenly spread over it."""
    if count >= len(items):
        return list(items)
    return [items[int(position)] for position in np.linspace(0, len(items) - 1, count)] if count else []


def _is_prefix(place: str) -> bool:
    return place.startswith("s3://") and not place.rstrip("/").lower().endswith(archives.SUFFIXES)


def _keys(place: str) -> list[str]:
    """Return the keys of the images below a prefix. Raises DataError for none, and for one that leads out of it."""
    keys = [key for key, _ in open_store(place.rstrip("/")).list()]
    images = [key for key in keys if key.lower().endswith(IMAGE_SUFFIXES) and "/." not in f"/{key}"]
    if not images:
        raise _no_images(place)
    for key in images:
        archives.check_name(place, key)
    return images


def _no_images(place: str) -> DataError:
    return DataError(f"{place} holds no image ({', '.join(IMAGE_SUFFIXES)}).")


@contextlib.contextmanager
def named() -> Iterator[None]:
    """Name the setting in what is wrong with its place."""
    try:
        yield
    except SightlineError as error:
        raise type(error)(f"{SETTING}: {error.message}", error.problems) from None


def _shown(path: Path) -> str:
    """Return a name as text that can be stored, whatever bytes it is made of."""
    return path.as_posix().encode("utf-8", "backslashreplace").decode()
