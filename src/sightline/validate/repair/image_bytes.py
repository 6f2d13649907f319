"""Repairs the bytes of an image file: bytes in, better bytes and a description of the repair out.

Without loss: bytes after the end of a JPEG, and zeros before its end marker, are cut; a missing end marker is added if
nothing else is missing (see `jpeg`); a file gets the suffix of its format. With new pixels: a picture stored rotated is
made upright, transparency is laid on white, more than 8 bits are scaled to 8 (in colour images, cut to the upper 8),
CMYK becomes RGB. Then PNG, BMP, WebP and TIFF are written without loss, JPEG with quality 95 and its own chroma
subsampling. The colour profile is kept, EXIF is not; of several pictures in a file, the first is kept.
"""

from __future__ import annotations

import io
import warnings
from typing import Any, NamedTuple

from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from sightline.image_files import jpeg, png
from sightline.image_files.decoding import DEEP, TURNS, UNDECODABLE, eight_bits, exif_orientation
from sightline.image_files.images import SUFFIXES, TIFF_UNREAD, cut_to_eight_bits, see_through
from sightline.image_files.signatures import FORMATS

QUALITY = 95
SUBSAMPLED_WIDE = 1  # Pillow's number for 4:2:2, which a quarter turn makes 4:4:0: that, it cannot write
LOSSLESS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "BMP": {},
    "WEBP": {"lossless": True},
    "TIFF": {"compression": "tiff_lzw"},
}


class Reencoded(NamedTuple):
    """Better bytes of an image file, their suffix, such as `.jpg`, and what was done in words."""

    data: bytes
    suffix: str
    change: str


def reencode(data: bytes, suffix: str) -> Reencoded | None:
    """Return the repaired image, None if there is nothing to do.

    `suffix` is the current suffix, such as `.jpg`. Raises ValueError with the reason if the image cannot be repaired.
    """
    with warnings.catch_warnings(action="ignore"):  # Pillow's, about odd tags, without the name of a file
        return _reencoded(data, suffix)


def _reencoded(data: bytes, suffix: str) -> Reencoded | None:
    kind = _kind(data)
    done: list[str] = []
    try:
        if kind in jpeg.KINDS:
            data, done = jpeg.ended(data, kind)
        if suffix.lower() not in SUFFIXES[kind]:
            suffix = SUFFIXES[kind][0]
            done.append(f"named {suffix}, which it is")
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            better, words = _better(image, data)
            if words:
                data = _encoded(better, image, kind)
    except UNDECODABLE as error:
        raise ValueError(str(error) or f"cannot be decoded ({type(error).__name__})") from None
    done += words
    return Reencoded(data, suffix, "; ".join(done)) if done else None


def _kind(data: bytes) -> str:
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.format or ""
    except UnidentifiedImageError:
        raise ValueError(f"is none of {', '.join(FORMATS)}") from None
    except (*UNDECODABLE, Image.DecompressionBombError) as error:
        raise ValueError(str(error) or f"cannot be opened ({type(error).__name__})") from None


def _better(image: Image.Image, data: bytes) -> tuple[Image.Image, list[str]]:
    """Decode a picture, and return it as training should see it, and what was done in words."""
    done = []
    if image.format == "PNG":
        image.load()  # or `exif_orientation` would, and pass over what is wrong
    orientation = exif_orientation(image)
    image.load()
    if image.format == "PNG" and ((broken := png.damage(data)) or png.lacks_rows(data, image)):
        raise ValueError(broken.message if broken else "ends too early: rows are missing")
    result: Image.Image = image
    if orientation in TURNS:
        # Pillow turns a TIFF by itself; the copy has no tags of the old file, which would turn it once more.
        result = image.copy() if image.format == "TIFF" else image.transpose(TURNS[orientation])
        done.append(f"made upright (EXIF orientation {orientation})")
    if result.mode in DEEP:
        result = eight_bits(result)
        done.append("scaled to 8 bits")
    elif cut_to_eight_bits(image, data):
        done.append("cut to 8 bits")
    if result.mode == "CMYK":
        result = result.convert("RGB")
        done.append("CMYK made RGB")
    if image.info.get("compression") in TIFF_UNREAD:
        done.append("compressed again")
    if see_through(result, loaded=True):
        result = _flattened(result)
        done.append("transparency laid on white")
    return result, done


def _flattened(image: Image.Image) -> Image.Image:
    grey = image.mode in ("1", "L", "LA", "La")
    picture = image.convert("RGBA")
    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("L" if grey else "RGB")


def _encoded(picture: Image.Image, original: Image.Image, kind: str) -> bytes:
    """Write a picture in the format of the original."""
    options = LOSSLESS.get(kind)
    if options is None:
        kind = "JPEG"
        sampling = max(JpegImagePlugin.get_sampling(original), 0)  # -1, an unusual one: all of the colour is kept
        quarter = picture.size != original.size
        options = {"quality": QUALITY, "subsampling": 0 if quarter and sampling == SUBSAMPLED_WIDE else sampling}
    profile = None if original.mode == "CMYK" else original.info.get("icc_profile")  # it describes those four colours
    buffer = io.BytesIO()
    picture.save(buffer, kind, icc_profile=profile, **options)
    return buffer.getvalue()
