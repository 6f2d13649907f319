"""Opens a source, wherever it lies, as a folder on the local disk."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from sightline.datasets import archive_budget
from sightline.datasets import archives as archive
from sightline.datasets.formats import named_file
from sightline.datasets.types import Folder
from sightline.errors import DataError, did_you_mean, shortened
from sightline.image_files.images import IMAGE_SUFFIXES
from sightline.runtime import progress
from sightline.storage import Transfer, fetch_uri, open_store
from sightline.storage.files import local_path

STAGE = "validate"
QUICKSTART = "quickstart"  # the source that is drawn, not read
NOTES = ("README", "LICENSE", "LICENCE")  # files about a set, not of it
EXPECTED = "a folder, an archive, a data.yaml, or s3://bucket/prefix"
SHOWN = 5  # names of archives inside that are listed


class Local(NamedTuple):
    """A source's folder on the local disk, whether its content is a stranger's, and the one file that was named."""

    root: Path
    fenced: bool
    file: Path | None = None


@contextlib.contextmanager
def opened(source: str, images: str | None = None) -> Iterator[Folder]:
    """Yield the source as a folder; what had to be downloaded or unpacked is removed at the end.

    `images` is the image folder where it lies outside: a path below the source, else anything a source can be.
    Raises DataError: no such path, an empty folder, an unsupported or hostile archive; StorageError from the store.
    """
    with contextlib.ExitStack() as stack:
        root, fenced, file = _local(source, stack)
        if images is None and file is None:
            _check_unpacked(root, source)
        image_folder = None
        if images is not None:
            below = root / images
            image_folder = below if os.path.isdir(below) else _local(images, stack, "data.images: ").root
        yield Folder(root, source, image_folder, root.resolve() if fenced else None, file)


@contextlib.contextmanager
def folder(uri: str, setting: str) -> Iterator[Path]:
    """Yield a place of images without labels, which `setting` names, as a folder; raises like `opened`."""
    with contextlib.ExitStack() as stack:
        yield _local(uri, stack, f"{setting}: ").root


def look(uri: str, expected: str = EXPECTED) -> None:
    """Raise DataError if nothing can be where `uri` says, as far as can be known without fetching or unpacking.

    `expected` says what can be there.
    """
    scheme, separator, _ = uri.partition("://")
    if uri == QUICKSTART:
        return
    if scheme == "s3":
        if not uri.removeprefix("s3://").strip("/"):
            raise DataError(f"{uri}: got no bucket, expected s3://bucket/prefix.")
        if not uri.endswith("/"):
            archive.check_kind(uri)
        return
    if separator and scheme != "file":
        raise DataError(f"{uri}: got {scheme}://, expected {expected}.")
    path = local_path(uri)
    if not os.path.exists(path):
        # The folders at the root are the system's own: none of them was meant.
        beside = path.parent if path.parent != path.parents[-1] and os.path.isdir(path.parent) else None
        near = [entry.name for entry in beside.iterdir()] if beside else []
        raise DataError(f"{shortened(uri)} does not exist{did_you_mean(path.name, near) or '.'}")


def home(source: str) -> Path | None:
    """Return the folder on this disk that a source is read from; None for an archive or another place."""
    if "://" in source and not source.startswith("file://"):
        return None
    path = local_path(source)
    if os.path.isdir(path):
        return path
    described = named_file.describes(path.name) and os.path.isfile(path)
    return path.parents[named_file.levels(PurePosixPath(path))] if described else None


def _local(uri: str, stack: contextlib.ExitStack, prefix: str = "") -> Local:
    """Return the source as a local folder; `prefix` stands before what is wrong with it."""
    if uri == QUICKSTART:
        from sightline.datasets.synthetic import draw

        return Local(draw(_work_folder(stack)), False)
    if uri.startswith("s3://"):
        return _download(uri, stack, prefix)
    try:
        look(uri)
    except DataError as error:
        raise DataError(prefix + error.message) from None
    path = local_path(uri)
    if path.is_dir():
        if not any(path.iterdir()):
            raise DataError(f"{prefix}{uri} is an empty folder; expected {_images(prefix)} in it.")
        return Local(path, False)
    if not prefix and named_file.describes(path.name):
        path = path.absolute()
        return Local(path.parents[named_file.levels(PurePosixPath(path))], False, path)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise DataError(f"{prefix}{uri} is an image; expected the folder or archive that holds it and others.")
    return Local(_unpacked(path, uri, stack, prefix), True)


def _images(prefix: str) -> str:
    """Say what is expected: what a setting names needs no labels."""
    return "images" if prefix else "labelled images"


def _unpacked(path: Path, name: str, stack: contextlib.ExitStack, prefix: str) -> Path:
    folder = _work_folder(stack)
    archive.unpack(path, folder, prefix + name)
    if not any(folder.iterdir()):
        raise DataError(f"{prefix}{name} is an empty archive; expected {_images(prefix)} in it.")
    return folder


def _check_unpacked(root: Path, source: str) -> None:
    """Raise DataError for a folder that holds archives, and nothing else but notes."""
    archives: list[str] = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        for name in names:
            if name.lower().endswith((*archive.SUFFIXES, *archive.UNREAD_SUFFIXES)):
                archives.append(os.path.relpath(os.path.join(folder, name), root))
            elif not name.startswith(".") and not name.upper().startswith(NOTES):
                return
    if archives:
        shown = ", ".join(sorted(archives)[:SHOWN]) + (", …" if len(archives) > SHOWN else "")
        raise DataError(
            f"{source} holds archives and no images: {shown}. Unpack {'it' if len(archives) == 1 else 'them'} and pass "
            "the folder."
        )


def _download(uri: str, stack: contextlib.ExitStack, prefix: str) -> Local:
    folder = _work_folder(stack)
    name = uri.rstrip("/").rsplit("/", 1)[1]
    if name.lower().endswith(archive.SUFFIXES):
        return Local(_unpacked(fetch_uri(uri.rstrip("/"), folder / name), uri, stack, prefix), True)
    if not prefix and named_file.describes(name) and not uri.endswith("/"):
        path = PurePosixPath(uri.removeprefix("s3://"))
        place = path.parents[min(named_file.levels(path), len(path.parents) - 2)]
        root = _objects(f"s3://{place}", prefix, folder)
        file = root / path.relative_to(place)
        if not file.is_file():
            raise DataError(f"{uri} does not exist; there are other objects beside it.")
        return Local(root, True, file)
    return Local(_objects(uri.rstrip("/"), prefix, folder), True)


def _objects(uri: str, prefix: str, folder: Path) -> Path:
    """Download all that lies below a prefix of an object store."""
    store = open_store(uri)
    sizes = {key: size for key, size in store.list() if not key.endswith("/")}
    keys = list(sizes)
    for key in keys:
        archive.check_name(uri, key)
    if not keys:
        raise DataError(f"{prefix}{uri} holds no objects; expected {_images(prefix)} or an archive there.")
    archive_budget.check_space(uri, sum(sizes.values()), folder)
    ticker = progress.Ticker(STAGE, len(keys), "downloading")
    store.download([Transfer(key, folder / key) for key in keys], ticker.tick)
    return folder


def _work_folder(stack: contextlib.ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sightline-source-")))
