"""Writing a data set in any of the formats: each module turns an image and its labels into what its files say.

    yolo   data.yaml, images/<split>/…, labels/<split>/….txt
    coco   <split>/…, <split>/_annotations.coco.json
    voc    Annotations/….xml, JPEGImages/…, ImageSets/Main/<split>.txt

What is written and read again gives the same labels to all six decimals, whatever the format. Images pass one by one:
memory does not grow with the set. Splits without images are left out.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from sightline.config import Format
from sightline.datasets.formats.coco import writer as coco
from sightline.datasets.formats.voc import writer as voc
from sightline.datasets.formats.yolo import writer as yolo
from sightline.datasets.types import Dataset, Sample
from sightline.errors import DataError, StageInputError

Add = Callable[[Sample], str]  # writes what the format says of an image, and returns where its bytes belong
Writing = Callable[[str, Sequence[str]], AbstractContextManager[Add]]
WRITERS: dict[Format, Writing] = {"yolo": yolo.writing, "coco": coco.writing, "voc": voc.writing}


def write(
    dataset: Dataset,
    format: Format,
    out: Path,
    *,
    image_bytes: Callable[[Sample], bytes] | None = None,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Write a data set into the folder `out`, which appears whole or not at all.

    `image_bytes` gives an image's bytes where they are not those of its file; `tick` is called after each image.
    Raises StageInputError if there is something in `out` already, DataError if an image changed since it was checked
    or if the format cannot hold a class name.
    """
    read = image_bytes or unchanged
    with appearing(out) as folder, WRITERS[format](folder, dataset.classes) as add:
        for sample in dataset.samples():
            data = read(sample)
            with open(add(sample), "xb") as file:
                file.write(data)
            tick()


@contextlib.contextmanager
def appearing(out: Path) -> Iterator[str]:
    """Give a hidden folder beside `out`, which takes its place when the block ends well, and is removed if not.

    Raises StageInputError as `check_free` does.
    """
    check_free(out)
    place = out.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    for left in place.parent.glob(f".{glob.escape(place.name)}.*.tmp"):  # of a process that was killed
        number = left.name.split(".")[-2]
        if left == beside or (number.isdecimal() and not Path("/proc", number).exists()):
            shutil.rmtree(left, ignore_errors=True)
    try:
        beside.mkdir()
        yield str(beside)
        beside.replace(place)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def check_free(out: Path) -> None:
    """Raise StageInputError if `out` is there and is anything but an empty folder that can be replaced."""
    place = out.resolve()
    if os.path.lexists(place) and not place.is_dir():
        raise StageInputError(f"{out} is a file; expected a folder that does not exist yet, or an empty one.")
    if os.path.ismount(place):
        raise StageInputError(f"{out} is a mount point, which cannot appear at once. Name a folder inside it.")
    if place.is_dir() and os.listdir(place):
        raise StageInputError(f"{out} is not empty. Name a folder that does not exist yet, or remove what is in it.")


def unchanged(sample: Sample) -> bytes:
    """Return the bytes of an image. Raises DataError if they are not those that were checked."""
    try:
        with open(sample.image, "rb", buffering=0) as file:
            data = file.read()
    except FileNotFoundError:
        data = b""
    if hashlib.sha256(data).hexdigest() != sample.sha256:
        raise DataError(f"{sample.source} changed while it was being read. Start again when the source is at rest.")
    return data
