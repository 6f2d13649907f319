"""A JPEG: its pixels, whether all of them are there and fit together, and what lies behind its end.

Most decoders fill what is missing or broken with grey, and report success. libjpeg knows better and warns; simplejpeg,
which is libjpeg-turbo, raises on a warning. It does so at an eighth of the size as well, because the codes of all
pixels are read there too. What libjpeg has no warning for: a progressive JPEG that lost its last scans still decodes to
a whole, coarser picture, so the scans must hold every coefficient of every component to its last bit. Not seen: damage
after which the codes happen to fit together again, as is the case with most single turned bits, and other quantisation
tables.
"""

from __future__ import annotations

import os
import re
import tempfile
from typing import NamedTuple, cast

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from sightline.image_files.jpeg_markers import (
    END,
    FRAME_CODES,
    PROGRESSIVE,
    SCAN_CODE,
    START,
    Structure,
    complete,
    structure_of,
    unread,
)

KINDS = ("JPEG", "MPO")  # MPO: further pictures behind the first
COLOURS_CODES = (0xE0, 0xEE)  # JFIF's and Adobe's words on colours
TIGHT = 2  # bytes whose loss must show
PARTS = (8, 4, 2, 1)  # of its size at which a picture can be decoded
# What libjpeg warns of although the picture is as it should be: words in the header that encoders get wrong.
HARMLESS = ("unknown JFIF revision", "Invalid SOS parameters for sequential", "Unknown Adobe color", "bad ICC marker")
MISSING = "premature end"
LEFT_OVER = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
HELD = 8  # bytes that the decoder has taken beyond the last code it used
UNKNOWN_SAMPLING = "subsampling level"  # simplejpeg knows 4:4:4, 4:2:2, 4:2:0, 4:4:0, 4:1:1 and 4:4:1
STANDARD_ERROR = 2  # the file's number
SECTOR = 512  # bytes that a disk loses at least


class Wrong(NamedTuple):
    """What is wrong with a picture: the rule, and a sentence without its subject."""

    rule: str
    message: str


def decoded(data: bytes, least: int) -> tuple[NDArray[np.uint8] | None, Wrong | None]:
    """Decode a JPEG; returns its grey pixels, and what is wrong with it.

    The pixels are an array of (height, width): an eighth, a quarter or a half of the picture's sides, rounded up, so
    that none has fewer than `least`; all of it if it is small. They are None for a JPEG of a kind that is hardly used
    (odd subsampling, lossless, arithmetic codes), which is judged all the same. Raises ValueError for what cannot be
    decoded at all.
    """
    structure = structure_of(data, 0, short=True)
    part = next((part for part in PARTS if min(structure.size) // part >= least), 1)
    pixels, warning = _tried(data, structure, part)
    if warning and (structure.scattered or any(words in warning for words in HARMLESS)):
        data = _plain(data, structure)
        pixels, warning = _tried(data, structure, part)
    if warning:
        pixels = _read(data, structure, part, strict=False)
    return pixels, (_cause(warning, data) if warning else None) or _silent(structure)


def ended(data: bytes, kind: str) -> tuple[bytes, list[str]]:
    """Return a JPEG that ends with its end marker, right behind its picture, and what was done for that.

    Raises ValueError for one whose picture is not all there, or of which that is not certain.
    """
    if data.endswith(END):
        return _unfilled(data)
    structure = structure_of(data, 0)
    if structure.end is not None:
        end = _last_end(data, structure.end) if kind == "MPO" else structure.end
        if wrong := _lost(data[: structure.end]):
            raise ValueError(f"is damaged: {wrong.message}")
        return data[:end], [f"cut {len(data) - end} bytes after its end"]
    body = _trimmed(data)
    if _lost(body + END):
        raise ValueError("ends too early, or is damaged: a part of its picture is missing")
    if not _lost(body[:-TIGHT] + END):
        raise ValueError("ends with bytes that are not of its picture, and without an end marker")
    return body + END, ["added the missing end marker"]


def _tried(data: bytes, structure: Structure, part: int) -> tuple[NDArray[np.uint8] | None, str]:
    """Return the pixels, if it gives any, and the first warning of the decoder."""
    try:
        return _read(data, structure, part, strict=True), ""
    except ValueError as error:
        return None, str(error)


def _read(data: bytes, structure: Structure, part: int, *, strict: bool) -> NDArray[np.uint8] | None:
    """Decode a part of the size in grey, None for rare kinds. Raises ValueError, with `strict` at a warning."""
    if structure.frame not in FRAME_CODES or structure.bits != 8:
        _read_in_full(data, strict)
        return None
    sides = {f"min_{name}": -(-side // part) for name, side in zip(("width", "height"), structure.size, strict=True)}
    try:
        pixels = simplejpeg.decode_jpeg(data, "GRAY", strict=strict, **sides)
    except ValueError as error:
        if UNKNOWN_SAMPLING in str(error):
            _read_in_full(data, strict)
            return None
        raise
    return cast(NDArray[np.uint8], pixels[:, :, 0])


def _read_in_full(data: bytes, strict: bool) -> None:
    """Decode with OpenCV, as the training engine does. Its libjpeg writes warnings to standard error, C's own."""
    import cv2

    with tempfile.TemporaryFile() as said:
        before = os.dup(STANDARD_ERROR)
        os.dup2(said.fileno(), STANDARD_ERROR)
        try:
            readable = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None
        finally:
            os.dup2(before, STANDARD_ERROR)
            os.close(before)
        said.seek(0)
        warning = said.readline().decode(errors="replace").strip()
    if not readable:
        raise ValueError(warning or f"it {unread(data)}")
    if strict and warning:
        raise ValueError(warning)


def _lost(data: bytes) -> Wrong | None:
    """Say what is wrong with the picture itself of a JPEG."""
    try:
        _, wrong = decoded(data, 1)
    except ValueError as error:
        return Wrong("unreadable-image", str(error))
    return None if wrong and wrong.rule == "trailing-bytes" else wrong


def _cause(warning: str, data: bytes) -> Wrong:
    """Say what a warning of the decoder means."""
    if MISSING in warning.lower():
        return Wrong("truncated-image", "its end marker comes before the end of its picture")
    if filling := _filling(warning, data):
        return Wrong("trailing-bytes", f"has {filling} bytes of filling between its picture and its end marker")
    return Wrong("damaged-image", f"is damaged ({warning.removeprefix('Corrupt JPEG data: ')})")


def _silent(structure: Structure) -> Wrong | None:
    """Say what is wrong by the headers alone, which a decoder does not look at."""
    if structure.holes:
        return Wrong("damaged-image", "is damaged (a zero in a quantisation table)")
    if not structure.plain and not complete(structure):
        return Wrong("truncated-image", "lacks scans: its end marker comes before the end of its picture")
    return None


def _filling(warning: str, data: bytes) -> int:
    """Return how many zeros a camera put between the picture and its end marker; 0 where it is something else.

    Zeros that a broken copy left there are a sector or more, and the decoder took some of them for pixels.
    """
    left_over = LEFT_OVER.search(warning)
    body = data[: (structure_of(data, 0).end or len(data)) - len(END)]
    zeros = len(body) - len(body.rstrip(b"\x00"))
    return zeros if left_over and int(left_over[1]) <= zeros <= min(int(left_over[1]) + HELD, SECTOR - 1) else 0


def _unfilled(data: bytes) -> tuple[bytes, list[str]]:
    try:
        _, wrong = decoded(data, 1)
    except ValueError:
        return data, []  # what is wrong with it is not its end
    shorter = data.removesuffix(END).rstrip(b"\x00") + END
    if wrong is None or wrong.rule != "trailing-bytes" or _lost(shorter):
        return data, []
    return shorter, [f"cut {len(data) - len(shorter)} bytes of filling before its end"]


def _plain(data: bytes, structure: Structure) -> bytes:
    """Take out what a decoder warns of although it does no harm."""
    kept = [data[:2]]
    for code, start, end in structure.segments:
        segment = data[start:end]
        if code == SCAN_CODE and structure.frame != PROGRESSIVE:
            segment = segment[:-3] + b"\x00\x3f\x00"  # all coefficients, to their last bits
        if code not in COLOURS_CODES:
            kept.append(segment)
    return b"".join(kept) + data[structure.segments[-1][2] :]


def _last_end(data: bytes, end: int) -> int:
    """Return where the last complete picture ends of those that follow each other."""
    while data.startswith(START, end) and (following := structure_of(data, end).end):
        end = following
    return end


def _trimmed(data: bytes) -> bytes:
    """Take off half an end marker, and zeros that a file system put where data was never written.

    The data of a scan is filled up with ones, so it ends with a zero byte only by chance. If it does, and zeros follow,
    they cannot be distinguished, and the picture counts as truncated.
    """
    shorter = data.rstrip(b"\x00")
    return (shorter if len(data) - len(shorter) > 1 else data).rstrip(b"\xff")
