"""Opens an image once: its digest, its size as a reader sees it, whether it decodes, and a thumbnail to compare by.

Decoding is the expensive part of the gate. A JPEG is decoded at an eighth of its size, which reads every bit of the
data, as a full decode does, and skips most of the arithmetic.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import warnings
import zlib
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from sightline.policy import Thresholds
from sightline.validate.dataset import IMAGE_SUFFIXES, Found

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".jpg", ".jpeg"),  # JPEG with further pictures behind the first, as phones make it
    "PNG": (".png",),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
}
ORIENTATION = 0x0112  # EXIF tag; values 5 to 8 turn the picture by a quarter
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's decoders raise on damaged bytes.
UNDECODABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)
THUMB = 16  # side of the thumbnail in pixels
LARGEST_FILE = 2**30  # bytes; no image that a detector is trained on is larger
GREY = ("1", "L", "LA", "I;16", "I", "F")
DEEP = ("I;16", "I;16B", "I;16L", "I", "F")
START_OF_JPEG, SCAN, END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"  # markers: start of image, of scan; end of image


class Facts(NamedTuple):
    """Facts about one image file: `size` in bytes, `width` and `height` of the upright picture in pixels.

    OpenCV and the training engine turn a picture by its EXIF orientation when they read it, so that is its size.
    `thumb` is its grey thumbnail, 16 x 16 bytes, None where images are not decoded.
    """

    sha256: str
    size: int
    width: int
    height: int
    orientation: int
    grey: bool
    thumb: bytes | None

    @property
    def stored_size(self) -> tuple[int, int]:
        """Width and height before it is turned upright."""
        return (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)


def prepare(thresholds: Thresholds) -> None:
    """Set this process up: decoders loaded, limits as the policy says."""
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.MAX_IMAGE_PIXELS = int(thresholds.max_megapixels * 1e6)
    Image.init()


def inspect(path: str, source: str, thresholds: Thresholds) -> tuple[Facts | None, list[Found]]:
    """Return the facts about an image, None if it cannot be used, and what is wrong with it."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in IMAGE_SUFFIXES:
        allowed = ", ".join(IMAGE_SUFFIXES)
        return None, [Found("unsupported-suffix", source, f"has the suffix '{suffix}'; expected one of {allowed}")]
    data = b""
    try:
        size = os.stat(path).st_size
        if size > LARGEST_FILE:
            return None, [Found("huge-image", source, f"is a file of {size / 2**30:.1f} GiB; expected an image")]
        with open(path, "rb", buffering=0) as file:
            data = file.read()
        return _inspect(data, source, suffix, thresholds)
    except Image.DecompressionBombError:
        return None, [_huge(source, thresholds)]
    except UnidentifiedImageError:
        kinds = ", ".join(FORMATS)
        message = f"is no image, or of an unsupported kind: its bytes are none of {kinds}" if data else "is empty"
        return None, [Found("unreadable-image", source, message)]
    except UNDECODABLE as error:
        return None, [_damaged(source, data, str(error) or type(error).__name__)]


def _inspect(data: bytes, source: str, suffix: str, thresholds: Thresholds) -> tuple[Facts | None, list[Found]]:
    found: list[Found] = []
    digest, size = hashlib.sha256(data).hexdigest(), len(data)
    if suffix in SUFFIXES["JPEG"] and data.startswith(START_OF_JPEG):
        found += _ending(source, data)
        if any(item.rule == "truncated-image" for item in found):
            data += END  # so that it is decoded as far as it goes, and its labels are judged
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        kind = image.format or ""
        width, height = image.size
        if width * height > thresholds.max_megapixels * 1e6:
            return None, [_huge(source, thresholds)]
        orientation = _orientation(image)
        grey = image.mode in GREY
        found += _kind(source, suffix, kind, orientation, image)
        if any(item.rule == "turned-boxes" for item in found):
            return None, found
        thumb = _thumb(image, orientation) if thresholds.decode else None
    if kind == "PNG":  # decoding passes over checksums
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.verify()
    if orientation >= 5:
        width, height = height, width
    return Facts(digest, size, width, height, orientation, grey, thumb), found


def _huge(source: str, thresholds: Thresholds) -> Found:
    return Found("huge-image", source, f"has more than {thresholds.max_megapixels:g} million pixels")


def _damaged(source: str, data: bytes, reason: str) -> Found:
    truncated = "truncated" in reason or "incomplete" in reason.lower() or "unexpected end" in reason.lower()
    if data and truncated:
        return Found("truncated-image", source, f"ends too early, after {len(data)} bytes ({reason})")
    return Found("unreadable-image", source, f"cannot be decoded ({reason})")


def _kind(source: str, suffix: str, kind: str, orientation: int, image: Image.Image) -> list[Found]:
    """Judge what the header says."""
    found = []
    if suffix not in SUFFIXES[kind]:
        found.append(Found("wrong-suffix", source, f"is {kind} inside, named '{suffix}'; expected {SUFFIXES[kind][0]}"))
    if orientation != 1 and kind == "TIFF":
        message = f"is a TIFF with EXIF orientation {orientation}, which readers disagree on"
        found.append(Found("turned-boxes", source, message))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        found.append(Found("alpha-channel", source, f"has transparency (mode {image.mode})"))
    if image.mode in DEEP:
        found.append(Found("deep-pixels", source, f"has more than 8 bits a channel (mode {image.mode})"))
    return found


def _ending(source: str, data: bytes) -> list[Found]:
    """Judge the end of a JPEG: the end marker must be there, and the last thing."""
    if data.endswith(END):
        return []
    end = data.rfind(END)
    if end <= data.rfind(SCAN):
        message = f"has no end marker after {len(data)} bytes"
        return [Found("truncated-image", source, message, badness=1.0)]
    return [Found("trailing-bytes", source, f"has {len(data) - end - 2} bytes behind its end marker")]


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where it is absent or unreadable, as OpenCV has it."""
    if image.format == "JPEG" and "exif" not in image.info:
        return 1  # the common case; getexif() would parse nothing at some cost
    try:
        value = image.getexif().get(ORIENTATION)
    except UNDECODABLE:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _thumb(image: Image.Image, orientation: int) -> bytes:
    """Decode, and return the upright grey thumbnail."""
    image.draft("L", (2 * THUMB, 2 * THUMB))  # a JPEG only
    image.load()
    return small(image, orientation, THUMB)


def small(image: Image.Image, orientation: int, side: int) -> bytes:
    """Return a loaded image as side x side grey bytes, upright."""
    if image.mode in DEEP:
        values = np.asarray(image, dtype=np.float32)
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        image = Image.fromarray(((values - low) * (255 / max(high - low, 1))).astype(np.uint8))
    grey = image if image.mode == "L" else image.convert("L")
    grey = grey.resize((side, side), Image.Resampling.BOX)
    return (grey.transpose(TURNS[orientation]) if orientation in TURNS else grey).tobytes()


def look_closer(path: str, side: int) -> bytes | None:
    """Return a larger thumbnail of an image that was found good, None if it is not any more."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as image:
            orientation = _orientation(image)
            image.draft("L", (2 * side, 2 * side))
            image.load()
            return small(image, orientation, side)
    except UNDECODABLE:
        return None
