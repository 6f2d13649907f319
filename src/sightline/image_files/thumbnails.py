"""Small grey pictures of images, upright, by which images are compared with each other."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image

from sightline.image_files.decoding import DEEP, TURNS, UNDECODABLE, eight_bits, exif_orientation
from sightline.image_files.signatures import FORMATS

THUMB = 16  # side of the thumbnail in pixels
FINER = 3  # times the thumbnail is a JPEG decoded at least; with 2, copies of photographs differ by twice as much


def decoded(image: Image.Image, orientation: int, side: int) -> bytes:
    """Decode an image, and return its thumbnail: side x side grey levels, upright, as half floats.

    Of plain pictures whole grey levels would leave nothing to compare. Raises one of UNDECODABLE.
    """
    # A JPEG only. The box is the picture: the last pixels may lie partly outside it.
    drafted = image.draft("L", (FINER * side, FINER * side))
    box = drafted[1] if drafted else None
    image.load()
    if image.mode in DEEP:
        image = eight_bits(image)
    return scaled(image if image.mode == "L" else image.convert("L"), box, orientation, side)


def scaled(grey: Image.Image, box: tuple[float, float, float, float] | None, orientation: int, side: int) -> bytes:
    """Scale the part `box` (pixels; None is all) of a grey image to side x side half floats, and turn it upright."""
    grey = grey.convert("F")
    # Pillow's bilinear filter is a triangle two places wide, scaled to the picture. A box has hard edges: where they
    # cut a pixel depends on the size at which a copy is decoded, and a sharp grid in it looks different each time.
    grey = grey.resize((side, side), Image.Resampling.BILINEAR, box)
    upright = grey.transpose(TURNS[orientation]) if orientation in TURNS else grey
    return np.asarray(upright, np.float16).tobytes()


def look_closer(path: str, side: int) -> bytes | None:
    """Return a larger thumbnail of an image that was found good, None if it is not any more."""
    try:
        with open(path, "rb") as file:
            return look(file.read(), side)
    except UNDECODABLE:
        return None


def look(data: bytes, side: int) -> bytes:
    """Return the thumbnail of a picture: side x side half floats. Raises one of UNDECODABLE."""
    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return decoded(image, exif_orientation(image), side)
