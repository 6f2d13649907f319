"""Opens an image once: its digest, its size as a reader sees it, whether it decodes, and a thumbnail to compare by.

Decoding is the expensive part of the gate. A JPEG is decoded at an eighth of its size, which reads every bit of the
data, as a full decode does, and skips most of the arithmetic (see `jpeg`).
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import io
import os
import stat
from typing import NamedTuple

from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError, _imaging

from sightline.image_files import jpeg, png, signatures, thumbnails
from sightline.image_files.decoding import DEEP, UNDECODABLE, exif_orientation
from sightline.image_files.signatures import FORMATS
from sightline.image_files.thumbnails import FINER, THUMB
from sightline.policy import Thresholds
from sightline.rules import Issue

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg"),
    "MPO": (".jpg", ".jpeg"),  # JPEG with further pictures behind the first, as phones make it
    "PNG": (".png",),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
}
LARGEST_FILE = 2**30  # bytes; no image that a detector is trained on is larger
GREY = ("1", "L", "LA", "I;16", "I", "F")
ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
PNG_BITS = 24  # where a PNG says how many bits a channel has; its header is always first
TIFF_UNREAD = ("lzma", "zstd", "webp")  # compressions of a TIFF that OpenCV cannot read, and
TIFF_UNREAD_MODES = ("F", "I")  # its pixels: floating point and 32 bits
TIFF_BITS = 258  # the tag in which a TIFF says so, for each channel
START_OF_JPEG, SCAN, END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"  # markers: start of image, of scan; end of image


class ImageInfo(NamedTuple):
    """What is known of one image file: `size` in bytes, `width` and `height` of the upright picture in pixels.

    OpenCV and the training engine turn a picture by its EXIF orientation when they read it, so that is its size.
    `thumb` is its grey thumbnail, 16 x 16 half floats, None where images are not decoded.
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
    """Set this process up: decoders loaded and silent, limits as the policy says.

    libtiff, which Pillow brings, writes what is wrong to standard error, without the name of the file.
    """
    for handler in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        with contextlib.suppress(AttributeError, OSError):  # of a Pillow that hides its libtiff
            getattr(ctypes.CDLL(_imaging.__file__), handler)(None)
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    Image.MAX_IMAGE_PIXELS = int(thresholds.max_megapixels * 1e6)
    Image.init()


def inspect(path: str, source: str, thresholds: Thresholds) -> tuple[ImageInfo | None, list[Issue]]:
    """Return the info of an image, None if it cannot be used, and what is wrong with it."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in IMAGE_SUFFIXES:
        allowed = ", ".join(IMAGE_SUFFIXES)
        return None, [Issue("unsupported-suffix", source, f"has the suffix '{suffix}'; expected one of {allowed}")]
    data = b""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # to open a pipe may take forever
            return None, [Issue("unreadable-image", source, "is not a regular file; expected an image")]
        if status.st_size > LARGEST_FILE:
            size = f"{status.st_size / 2**30:.1f} GiB"
            return None, [Issue("huge-image", source, f"is a file of {size}; expected an image")]
        with open(path, "rb", buffering=0) as file:
            data = file.read()
        return _inspect(data, source, suffix, thresholds)
    except Image.DecompressionBombError:
        return None, [_huge(source, thresholds)]
    except UnidentifiedImageError:
        return None, [signatures.unidentified(source, data)]
    except UNDECODABLE as error:
        if isinstance(error, OSError) and error.strerror:  # of the system: decoders have only a message
            return None, [Issue("unreadable-image", source, f"cannot be read: {error.strerror.lower()}")]
        return None, [signatures.undecodable(source, data, str(error) or type(error).__name__)]


def _inspect(data: bytes, source: str, suffix: str, thresholds: Thresholds) -> tuple[ImageInfo | None, list[Issue]]:
    found: list[Issue] = []
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
        if not (width and height):
            return None, [Issue("unreadable-image", source, f"is {width} x {height} pixels in size by its header")]
        if kind == "PNG" and (broken := png.damage(data)):
            return None, [Issue(broken.rule, source, broken.message)]
        if (end := signatures.bmp_end(image)) > len(data):
            return None, [Issue("truncated-image", source, f"ends too early, after {len(data)} of {end} bytes")]
        if thresholds.decode and kind == "PNG":
            image.load()  # or `exif_orientation` would, for EXIF behind the pixels, and pass over what is wrong
        orientation = exif_orientation(image)
        grey = image.mode in GREY
        odd, usable = _kind(source, suffix, kind, orientation, image, data)
        found += odd
        if not usable:
            return None, found
        thumb = None
        if thresholds.decode:
            thumb, wrong = _decoded(image, orientation, data)
            if wrong and wrong.rule not in (item.rule for item in found):
                found.append(Issue(wrong.rule, source, wrong.message))
        if see_through(image, thresholds.decode):
            found.append(Issue("alpha-channel", source, f"has transparency (mode {image.mode})"))
    if orientation >= 5:
        width, height = height, width
    return ImageInfo(digest, size, width, height, orientation, grey, thumb), found


def _huge(source: str, thresholds: Thresholds) -> Issue:
    return Issue("huge-image", source, f"has more than {thresholds.max_megapixels:g} million pixels")


def _kind(
    source: str, suffix: str, kind: str, orientation: int, image: Image.Image, data: bytes
) -> tuple[list[Issue], bool]:
    """Judge what the header says; also tells whether the image can be used."""
    found, usable = [], True
    if suffix not in SUFFIXES[kind]:
        found.append(Issue("wrong-suffix", source, f"is {kind} inside, named '{suffix}'; expected {SUFFIXES[kind][0]}"))
    if orientation != 1 and kind == "TIFF":
        message = f"is a TIFF with EXIF orientation {orientation}, which readers disagree on"
        found.append(Issue("turned-boxes", source, message))
        usable = False
    if kind == "TIFF" and (image.mode in TIFF_UNREAD_MODES or image.info.get("compression") in TIFF_UNREAD):
        message = f"is a TIFF of mode {image.mode}, compression {image.info.get('compression')}"
        found.append(Issue("unreadable-image", source, f"{message}, which the training engine cannot read"))
        usable = False
    elif image.mode in DEEP or cut_to_eight_bits(image, data):
        found.append(Issue("deep-pixels", source, f"has more than 8 bits a channel (mode {image.mode})"))
    return found, usable


def cut_to_eight_bits(image: Image.Image, data: bytes) -> bool:
    """Tell whether a PNG or TIFF in colours holds 16 bits a channel, of which Pillow reads the upper 8."""
    if image.mode in DEEP:
        return False
    if image.format == "PNG":
        return data[PNG_BITS] == 16
    return isinstance(image, TiffImagePlugin.TiffImageFile) and max(image.tag_v2.get(TIFF_BITS, (1,))) > 8


def see_through(image: Image.Image, loaded: bool) -> bool:
    """Tell whether a picture is transparent somewhere; of one that is not loaded, whether it says it can be."""
    if image.mode in DEEP:
        return False  # no reader looks at a transparent value of these
    if image.mode not in ALPHA and "transparency" not in image.info:
        return False
    if not loaded:
        return True
    if image.mode not in ALPHA:
        image = image.convert("RGBA")
    return bool(image.getchannel(image.getbands()[-1]).getextrema()[0] != 255)


def _ending(source: str, data: bytes) -> list[Issue]:
    """Judge the end of a JPEG: the end marker must be there, and the last thing."""
    if data.endswith(END):
        return []
    end = data.rfind(END)
    if end <= data.rfind(SCAN):
        message = f"has no end marker after {len(data)} bytes"
        return [Issue("truncated-image", source, message, badness=1.0)]
    return [Issue("trailing-bytes", source, f"has {len(data) - end - 2} bytes after its end marker")]


def _decoded(image: Image.Image, orientation: int, data: bytes) -> tuple[bytes, jpeg.Wrong | None]:
    """Decode an image; returns its thumbnail, and what is wrong with it that Pillow does not see."""
    if image.format in jpeg.KINDS:
        pixels, wrong = jpeg.decoded(data, FINER * THUMB)
        if pixels is not None:
            part = round(image.width / pixels.shape[1])
            box = (0, 0, image.width / part, image.height / part)
            return thumbnails.scaled(Image.fromarray(pixels), box, orientation, THUMB), wrong
        return thumbnails.decoded(image, orientation, THUMB), wrong
    thumb = thumbnails.decoded(image, orientation, THUMB)
    if image.format == "PNG" and png.lacks_rows(data, image):
        return thumb, jpeg.Wrong("truncated-image", f"ends too early, after {len(data)} bytes: rows are missing")
    return thumb, None
