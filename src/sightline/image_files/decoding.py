"""What every decoder of an image needs: the errors of Pillow, the EXIF orientation, deep pixels scaled to 8 bits."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from PIL import Image

ORIENTATION = 0x0112  # EXIF tag; values 5 to 8 turn the picture by a quarter
XMP = ("XML:com.adobe.xmp", "xmp")  # Pillow's names for other words on a picture
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
DEEP = ("I;16", "I;16B", "I;16L", "I", "F")


def exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where it is absent or unreadable, as OpenCV has it.

    Where EXIF has none, Pillow's `getexif` believes XMP, which neither OpenCV nor the engine looks at.
    """
    if image.format == "JPEG" and "exif" not in image.info:
        return 1  # the common case; getexif() would parse nothing at some cost
    try:
        if "exif" in image.info:
            exif = Image.Exif()
            exif.load(image.info["exif"])
        else:
            for key in XMP:
                image.info.pop(key, None)
            exif = image.getexif()
        value = exif.get(ORIENTATION)
    except UNDECODABLE:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def eight_bits(image: Image.Image) -> Image.Image:
    """Scale a grey picture to 0 to 255 by its own darkest and brightest value. Raises ValueError without any.

    So nothing is lost of a sensor with 12 bits, which a plain cut to the upper 8 leaves nearly black. The price:
    brightness can no more be compared between pictures. Values that are no numbers become the darkest.
    """
    values = np.asarray(image, dtype=np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        raise ValueError("holds no numbers")
    low, high = values[finite].min(), values[finite].max()
    scaled = (np.clip(np.where(finite, values, low), low, high) - low) * (255 / max(high - low, 1e-12))
    return Image.fromarray(scaled.round().astype(np.uint8))
