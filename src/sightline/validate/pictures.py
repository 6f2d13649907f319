"""Opens every image once: its digest, its size as a reader sees it, and whether it decodes at all."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from sightline.validate.dataset import IMAGE_SUFFIXES

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
ORIENTATION = 0x0112  # EXIF tag; values 5 to 8 turn the picture by a quarter
# What Pillow's decoders raise on damaged bytes.
UNDECODABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)


@dataclass(frozen=True, slots=True)
class Picture:
    """Facts about one image file; width and height are of the upright picture, in pixels.

    OpenCV and the training engine turn a picture by its EXIF orientation when they read it, so that is its size.
    """

    sha256: str
    bytes: int
    width: int
    height: int
    orientation: int

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height before it is turned upright."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def inspect(path: Path) -> Picture | str:
    """Return the facts about an image, or a sentence on why it is none.

    The size is checked before anything is decoded: Pillow refuses more than twice `Image.MAX_IMAGE_PIXELS`.
    """
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return f"has the file name suffix '{path.suffix}'; expected one of {', '.join(IMAGE_SUFFIXES)}"
    data = b""
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.verify()
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.format == "TIFF" and _orientation(image) != 1:
                return "is a TIFF that is stored turned (EXIF orientation), which readers disagree on; save it upright"
            image.load()
            orientation = _orientation(image)
            width, height = image.size
    except Image.DecompressionBombError:
        return f"has more than {2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6} million pixels; cut it into tiles"
    except UnidentifiedImageError:
        return (
            f"is no image, or of an unsupported kind: its bytes are none of {', '.join(FORMATS)}"
            if data
            else "is an empty file"
        )
    except UNDECODABLE as error:
        return f"is a damaged or truncated image ({str(error) or type(error).__name__})"
    if orientation >= 5:
        width, height = height, width
    return Picture(hashlib.sha256(data).hexdigest(), len(data), width, height, orientation)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where it is absent or unreadable, as OpenCV has it."""
    try:
        value = image.getexif().get(ORIENTATION)
    except UNDECODABLE:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def inspect_all(paths: Sequence[Path], tick: Callable[[], object]) -> Iterator[Picture | str]:
    """Inspect in parallel, in order; decoding and hashing run outside the interpreter's lock.

    Only a window of files is in memory at a time.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.init()  # loads the decoders of all formats, before threads need them
    workers = os.cpu_count() or 1
    window = 32 * workers
    with warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        warnings.simplefilter("ignore")  # large but allowed images, odd EXIF: what matters is whether they decode
        for start in range(0, len(paths), window):
            for found in pool.map(inspect, paths[start : start + window]):
                tick()
                yield found
