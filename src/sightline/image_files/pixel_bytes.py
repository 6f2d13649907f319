"""How many bytes of a BMP or TIFF are its pixels, by its header: as many may come out of very few in an archive."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path
from typing import IO

from PIL import Image, TiffImagePlugin

from sightline.image_files.images import IMAGE_SUFFIXES, LARGEST_FILE

HEAD = 2**16  # bytes of a file that its header is looked for in
LATER = LARGEST_FILE  # what is promised for a TIFF, whose headers may lie behind its pixels, until all of it is there
ROW = 4  # bytes that a row of a BMP is filled up to a multiple of
OTHERS = 2**16  # bytes that a header, tables and profiles take
MOST_FRAMES = 1000  # pictures in a TIFF that are counted
BITS, CHANNELS = 258, 277  # the tags in which a TIFF says how many bits each channel has, and how many there are
TIFF = (b"II*\x00", b"MM\x00*")


def promised(name: str, head: bytes) -> int:
    """Return how many bytes of a file are pixels, by its name and its first HEAD bytes; LATER if its end must tell."""
    if not name.lower().endswith(IMAGE_SUFFIXES):
        return 0
    if head.startswith(TIFF) and len(head) == HEAD:
        return LATER
    return _pixels(io.BytesIO(head)) if head.startswith((b"BM", *TIFF)) else 0


def in_file(path: Path) -> int:
    """Return how many bytes of a file are pixels."""
    with path.open("rb") as file:
        return _pixels(file)


def _pixels(file: IO[bytes]) -> int:
    """Read the header of each picture; 0 if the file is no BMP or TIFF, or its header makes no sense."""
    total = 0
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=("BMP", "TIFF")) as image:
            for frame in range(MOST_FRAMES if isinstance(image, TiffImagePlugin.TiffImageFile) else 1):
                image.seek(frame)
                total += _size(image)
    except (EOFError, OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error):
        pass  # no further picture, or nothing that can be counted
    except Image.DecompressionBombError:
        return 0
    return min(total + OTHERS, LARGEST_FILE) if total else 0


def _size(image: Image.Image) -> int:
    """Return the most bytes that the pixels of a picture take, uncompressed."""
    width, height = image.size
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = int(max(image.tag_v2.get(BITS, (1,))) * image.tag_v2.get(CHANNELS, 1))
        return (width * bits + 7) // 8 * height
    return (width * (1 if image.mode in ("1", "L", "P") else 4) + ROW) * height
