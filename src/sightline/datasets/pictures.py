"""A place of pictures without labels, as a person has them: some of its images, on the local disk."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from sightline.datasets import archives, sources
from sightline.errors import DataError, SightlineError
from sightline.image_files.folders import images_below
from sightline.image_files.images import IMAGE_SUFFIXES
from sightline.storage import Transfer, open_store
from sightline.storage.files import local_path

SETTING = "sample.pictures"
EXPECTED = "expected a folder or an archive of images, or s3://bucket/prefix"
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
        if _is_prefix(place):
            root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sightline-pictures-")))
            with _named():
                names = _keys(place)
                files = {name: root / name for name in spread(names, most)}
                open_store(place.rstrip("/")).download([Transfer(name, path) for name, path in files.items()])
        else:
            root = stack.enter_context(sources.folder(place, SETTING))
            paths = images_below(root)[0]
            names = [_shown(path.relative_to(root)) for path in paths]
            files = dict(spread(list(zip(names, paths, strict=True)), most))
            if not files:
                with _named():
                    raise _no_images(place)
        yield Pictures(files, len(names))


def check(place: str) -> None:
    """Raise DataError or StorageError where no images can be, as far as is known without fetching or unpacking."""
    with _named():
        sources.look(place)
        if _is_prefix(place):
            _keys(place)
        elif place.startswith("s3://"):
            folder, _, name = place.rstrip("/").rpartition("/")
            if not open_store(folder).exists(name):
                raise DataError(f"{place} does not exist.")
        elif (path := local_path(place)).is_dir():
            if not any(name.lower().endswith(IMAGE_SUFFIXES) for _, _, names in os.walk(path) for name in names):
                raise _no_images(place)
        elif not path.name.lower().endswith(archives.SUFFIXES):
            raise DataError(f"{place} is no folder and no archive; {EXPECTED}.")


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
def _named() -> Iterator[None]:
    """Name the setting in what is wrong with its place."""
    try:
        yield
    except SightlineError as error:
        raise type(error)(f"{SETTING}: {error.message}", error.problems) from None


def _shown(path: Path) -> str:
    """Return a name as text that can be stored, whatever bytes it is made of."""
    return path.as_posix().encode("utf-8", "backslashreplace").decode()
