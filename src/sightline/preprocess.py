"""Turns images as people have them into the network's input: reads them, converts to 8-bit BGR, letterboxes.

Part of the runtime that ships: needs numpy and OpenCV. PIL images are accepted where the caller has PIL.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.errors import DataError, shortened

if TYPE_CHECKING:
    from PIL import Image as Pil

Image: TypeAlias = NDArray[np.uint8]
Source: TypeAlias = "str | os.PathLike[str] | Image | Pil.Image"
EXPECTED = "a path, a uint8 array of (height, width, 3) in BGR or (height, width) in grey, or a PIL image"
DEEP_COLOUR = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH


def several(images: Source | Iterable[Source]) -> Iterable[Source]:
    """Return the images of an argument that may be one image, or any ordered collection of them.

    A uint8 array of (n, height, width, 3) counts as n images. Raises DataError for what is neither.
    """
    if isinstance(images, np.ndarray):
        named = images.ndim == 1 and images.dtype.kind in "OUT"  # paths, such as a column of a table
        return cast("Iterable[Source]", images if named or images.ndim == 4 else [images])
    if isinstance(images, (str, os.PathLike)) or _is_pil(images):
        return [cast("Source", images)]
    unordered = isinstance(images, (bytes, bytearray, memoryview, Mapping, Set))
    if unordered or not isinstance(images, Iterable) or getattr(images, "ndim", 1) != 1:
        raise DataError(f"Got {_kind(images)}, expected {EXPECTED}; or a list, tuple or generator of these.")
    return images


def read_image(image: Source) -> Image:
    """Return a BGR array, upright (EXIF orientation applied), one or more pixels wide and high.

    Images of 16 bits a channel keep the high byte, as they do in training; transparency is dropped, as there. Raises
    DataError if a path holds no such image, an array has another form, or it is none of these.
    """
    if isinstance(image, np.ndarray):
        return _of_array(image)
    if isinstance(image, (str, os.PathLike)):
        return _of_file(os.fsdecode(image))
    if _is_pil(image):
        return _of_pil(image)
    raise DataError(f"Got {_kind(image)}, expected {EXPECTED}.")


def _kind(value: object) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"


def _is_pil(value: object) -> bool:
    """Say whether a value is a PIL image, without loading PIL for it."""
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(value, pil.Image)


def _of_array(array: NDArray[Any]) -> Image:
    grey = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 1)
    colour = array.ndim == 3 and array.shape[2] == 3
    if array.dtype != np.uint8 or not array.size or not (grey or colour):
        raise DataError(
            f"Got an array of shape {array.shape} and type {array.dtype}, expected (h, w, 3) uint8 BGR or (h, w) uint8 "
            "grey, of one pixel or more: values 0 to 255, channels last, no transparency."
        )
    array = np.ascontiguousarray(array)
    return np.asarray(cv2.cvtColor(array, cv2.COLOR_GRAY2BGR), np.uint8) if grey else array


def _of_file(path: str) -> Image:
    if not path:
        raise DataError("'' is not a path, expected that of an image.")
    try:
        if Path(path).exists() and not Path(path).is_file():  # opening a pipe may take forever
            kind = "a folder" if Path(path).is_dir() else "not a regular file"
            raise DataError(f"{path} is {kind}, expected an image.")
        data = np.fromfile(path, np.uint8)
        decoded = cv2.imdecode(data, DEEP_COLOUR) if data.size else None
    except OSError as error:
        raise DataError(f"{shortened(path)} cannot be read: {error.strerror or error}.") from None
    except ValueError as error:  # a name with a NUL
        raise DataError(f"{path!r} cannot be read: {error}.") from None
    except cv2.error as error:  # larger than OpenCV's limits
        raise DataError(f"{path} is not an image that OpenCV can read: {error.err}.") from None
    if decoded is None:
        raise DataError(f"{path} is not an image that OpenCV can read.")
    if decoded.dtype == np.uint16:
        decoded = decoded >> 8  # what the training engine does; OpenCV's own scaling rounds some formats
    elif decoded.dtype != np.uint8:
        raise DataError(
            f"{path} has channels of type {decoded.dtype}, expected 8 or 16 bits: scale it to 8 bits, as the images "
            "that the model was trained on."
        )
    return np.asarray(decoded, np.uint8)


def _of_pil(image: Any) -> Image:
    from PIL import ImageOps

    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16"):
            return _of_array((np.asarray(upright).astype(np.uint16) >> 8).astype(np.uint8))
        if upright.mode in ("I", "F"):
            raise DataError(
                f"Got a PIL image of mode {upright.mode}, expected 8 or 16 bits a channel: scale it to 8 bits, as the "
                "images that the model was trained on."
            )
        return _of_array(np.asarray(upright.convert("RGB"))[..., ::-1])
    except (OSError, ValueError, SyntaxError) as error:  # a file that is opened and not yet decoded; an unusual mode
        raise DataError(f"The PIL image cannot be decoded: {error}.") from None


def _placement(size: int, height: int, width: int) -> tuple[float, int, int, int, int]:
    """Return scale, scaled width and height, left and top padding of a letterbox, rounded as the engine rounds."""
    scale = min(size / height, size / width)
    scaled_width, scaled_height = max(round(width * scale), 1), max(round(height * scale), 1)
    left = round((size - scaled_width) / 2 - 0.1)
    top = round((size - scaled_height) / 2 - 0.1)
    return scale, scaled_width, scaled_height, left, top


def preprocess(image: Image, size: int, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Turn a BGR image into the network's input: (3, size, size) float32 RGB in 0..1, written into `out` if given."""
    height, width = image.shape[:2]
    _, scaled_width, scaled_height, left, top = _placement(size, height, width)
    if (scaled_width, scaled_height) != (width, height):
        image = np.asarray(cv2.resize(image, (scaled_width, scaled_height), interpolation=cv2.INTER_LINEAR), np.uint8)
    planes = np.empty((3, size, size), np.float32) if out is None else out
    planes.fill(np.float32(114) / np.float32(255))
    inside = planes[:, top : top + scaled_height, left : left + scaled_width]
    for plane, channel in zip(inside, reversed(cv2.split(image)), strict=True):
        np.divide(channel, np.float32(255), out=plane, dtype=np.float32)
    return planes


def unletterbox(boxes: NDArray[np.float32], size: int, height: int, width: int) -> NDArray[np.float32]:
    """Map (n, 4) x1 y1 x2 y2 boxes from network input to original pixels, clipped to the image.

    A box that lies in the padding becomes a line or a point: it has no area.
    """
    scale, _, _, left, top = _placement(size, height, width)
    moved = (boxes - np.array([left, top, left, top], np.float32)) / np.float32(scale)
    limit = np.array([width, height, width, height], np.float32)
    clipped: NDArray[np.float32] = np.clip(moved, np.float32(0), limit)
    return clipped
