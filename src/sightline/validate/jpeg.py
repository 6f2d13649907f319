"""The end of a JPEG: whether all of the picture is there, what lies behind it, and what is missing.

A decoder does not say whether it ran out of data: it fills the rest with grey, and reports success. So the picture is
decoded several times, each time with other bytes where data may be missing. If the pixels differ, the decoder wanted
those bytes, and the picture is truncated. If they do not, it had everything it needed. That and one more thing make
certain: the scans that are there must hold every coefficient of every component to its last bit, because a progressive
JPEG that lost its last scans still decodes to a whole, coarser picture. What remains: damage in the middle, which does
not change where the data ends, is not seen.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field

from PIL import Image

KINDS = ("JPEG", "MPO")  # MPO: further pictures behind the first
START, END = b"\xff\xd8\xff", b"\xff\xd9"
END_CODE, SCAN_CODE = 0xD9, 0xDA
FRAME_CODES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive, all with Huffman codes; others are hardly used
LONE_CODES = (0x01, 0xD8)  # have no length
MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")  # what ends the data of a scan: neither an escape nor a restart
RESTART = re.compile(rb"\xff[\xd0-\xd7]")
FILLINGS = (b"\x00" * 64, b"\x55" * 64, b"\xaa" * 64)
MIXED = (b"\x55" * 32 + b"\xaa" * 32) * 8  # enough to change what a picture looks like at an eighth of its size
TIGHT = 2  # bytes whose loss must show


@dataclass
class _Structure:
    """Where a picture ends, None if it has no end marker, and what its scans say they hold."""

    end: int | None = None
    components: int = 0
    scans: list[bytes] = field(default_factory=list)
    last: int = 0  # where the data of the last scan starts


def ended(data: bytes, kind: str) -> tuple[bytes, list[str]]:
    """Return a JPEG that ends with its end marker, and what was done for that.

    Raises ValueError for one whose picture is not all there, or of which that is not certain.
    """
    if data.endswith(END):
        return data, []
    structure = _structure(data, 0)
    if structure.end is not None:
        end = _last_end(data, structure.end) if kind == "MPO" else structure.end
        if not _whole(data[: structure.end - len(END)], structure):
            raise ValueError("is damaged: its end marker comes before the end of its picture")
        return data[:end], [f"cut {len(data) - end} bytes behind its end"]
    body = _trimmed(data)
    if not _whole(body, structure):
        raise ValueError("ends too early, or is damaged: a part of its picture is missing")
    if _whole(body[:-TIGHT], structure):
        raise ValueError("ends with bytes that are not of its picture, and without an end marker")
    return body + END, ["added the missing end marker"]


def wants_more(data: bytes, pixels: bytes, size: tuple[int, int]) -> bool:
    """Tell whether a decoder would use further data before the end marker. `pixels` is what it makes of `data` now.

    That is, in grey, and at a size near `size` at which it is quick.
    """
    structure = _structure(data, 0)
    if structure.end is None:
        return False
    body = data[: structure.end - len(END)]
    try:
        return _grey(body + MIXED + _restart(body, structure) + MIXED + END, size) != pixels
    except OSError:
        return False


def lacks_scans(data: bytes) -> bool:
    """Tell whether a progressive JPEG has fewer scans than its picture is made of."""
    return not _complete(_structure(data, 0))


def _structure(data: bytes, start: int) -> _Structure:
    """Follow the markers of the picture that starts at `start`."""
    result = _Structure()
    position = start + 2
    while found := MARKER.search(data, position):
        code, position = found[1][0], found.end()
        if code == END_CODE:
            result.end = position
            break
        if code in LONE_CODES:
            continue
        length = max(int.from_bytes(data[position : position + 2]), 2)
        body = data[position + 2 : position + length]
        position += length
        if code in FRAME_CODES:
            result.components = body[5] if len(body) > 5 else 0
        elif code == SCAN_CODE:
            result.scans.append(body)
            result.last = position
    return result


def _last_end(data: bytes, end: int) -> int:
    """Return where the last complete picture ends of those that follow each other."""
    while data.startswith(START, end):
        following = _structure(data, end).end
        if following is None:
            break
        end = following
    return end


def _trimmed(data: bytes) -> bytes:
    """Take off half an end marker, and zeros that a file system put where data was never written.

    The data of a scan is filled up with ones, so it ends with a zero byte only by chance. If it does, and zeros follow,
    nobody can tell, and the picture counts as truncated.
    """
    shorter = data.rstrip(b"\x00")
    return (shorter if len(data) - len(shorter) > 1 else data).rstrip(b"\xff")


def _whole(body: bytes, structure: _Structure) -> bool:
    """Tell whether all of a picture is in `body`, its bytes without an end marker."""
    restart = _restart(body, structure)
    try:
        picture = _pixels(body + END)
        same = all(_pixels(body + filling + restart + filling + END) == picture for filling in FILLINGS)
    except OSError:
        return False
    return same and _complete(structure)


def _restart(body: bytes, structure: _Structure) -> bytes:
    """Return the restart marker that would come next: where data stops before one, it must be there to go on."""
    return b"\xff" + bytes([0xD0 + len(RESTART.findall(body, structure.last)) % 8])


def _complete(structure: _Structure) -> bool:
    """Tell whether the scans hold all 64 coefficients of every component to the last bit (ITU T.81, B.2.3)."""
    final: set[tuple[int, int]] = set()
    for scan in structure.scans:
        count = scan[0] if scan else 0
        if len(scan) < 4 + 2 * count:  # cut within its header
            return False
        first, last, bits = scan[1 + 2 * count : 4 + 2 * count]
        if bits & 15 == 0:
            final |= {(component, k) for component in scan[1 : 1 + 2 * count : 2] for k in range(first, last + 1)}
    return 0 < 64 * structure.components == len(final)


def _pixels(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        image.load()
        return image.tobytes()


def _grey(data: bytes, size: tuple[int, int]) -> bytes:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        image.draft("L", size)
        image.load()
        return image.tobytes()
