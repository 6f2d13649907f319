"""The markers of a JPEG: what they say of its picture, and whether they say all of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

START, END = b"\xff\xd8\xff", b"\xff\xd9"
END_CODE, SCAN_CODE, TABLES_CODE = 0xD9, 0xDA, 0xDB
PROGRESSIVE = 0xC2
# Baseline, extended, progressive, all with Huffman codes. Never give simplejpeg others: of lossless ones it writes the
# whole picture into the memory of an eighth.
FRAME_CODES = (0xC0, 0xC1, PROGRESSIVE)
ALL_FRAMES = tuple(code for code in range(0xC0, 0xD0) if code not in (0xC4, 0xC8, 0xCC))
CHANNELS = (1, 3, 4)  # of a JPEG that can be read
LONE_CODES = (0x01, 0xD8)  # have no length
MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")  # what ends the data of a scan: neither an escape nor a restart


@dataclass
class Structure:
    """What the markers of a picture say. `end` is where it ends, None if it has no end marker."""

    end: int | None = None
    frame: int = 0  # its code
    bits: int = 0  # a channel
    size: tuple[int, int] = (0, 0)  # width and height in pixels
    components: int = 0
    scans: list[bytes] = field(default_factory=list)  # their headers
    segments: list[tuple[int, int, int]] = field(default_factory=list)  # of the header: code, start, end
    holes: bool = False  # a quantisation table with a zero, which the standard (ITU T.81, B.2.4.1) forbids

    @property
    def plain(self) -> bool:
        """Tell whether its first scan is all of it."""
        return self.frame != PROGRESSIVE and bool(self.scans) and self.scans[0][:1] == bytes([self.components])

    @property
    def scattered(self) -> bool:
        """Tell whether other bytes lie between the parts of its header."""
        ends = [2, *(end for _, _, end in self.segments)]
        return any(start > end for (_, start, _), end in zip(self.segments, ends, strict=False))


def structure_of(data: bytes, start: int, *, short: bool = False) -> Structure:
    """Follow the markers of the picture that starts at `start`; with `short` as far as they say something new."""
    result = Structure()
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
        if not result.scans:
            result.segments.append((code, found.start(), position))
        if code in ALL_FRAMES and len(body) > 5:
            result.frame, result.bits, result.components = code, body[0], body[5]
            result.size = (int.from_bytes(body[3:5]), int.from_bytes(body[1:3]))
        elif code == TABLES_CODE:
            result.holes = result.holes or _holes(body)
        elif code == SCAN_CODE:
            result.scans.append(body)
            if short and result.plain:
                break
    return result


def _holes(tables: bytes) -> bool:
    """Tell whether a value of quantisation tables is zero."""
    place = 0
    while place < len(tables):
        width = 2 if tables[place] >> 4 else 1  # bytes a value
        values = tables[place + 1 : place + 1 + 64 * width]
        if 0 in (values if width == 1 else memoryview(values[: len(values) & ~1]).cast("H")):
            return True
        place += 1 + 64 * width
    return False


def complete(structure: Structure) -> bool:
    """Tell whether the scans hold all 64 coefficients of every component to the last bit (ITU T.81, B.2.3)."""
    final: set[tuple[int, int]] = set()
    for scan in structure.scans:
        count = scan[0] if scan else 0
        if len(scan) < 4 + 2 * count:  # cut within its header
            return False
        first, last, bits = scan[1 + 2 * count : 4 + 2 * count] if structure.frame == PROGRESSIVE else (0, 63, 0)
        if bits & 15 == 0:
            final |= {(component, k) for component in scan[1 : 1 + 2 * count : 2] for k in range(first, last + 1)}
    return 0 < 64 * structure.components == len(final)


def unread(data: bytes) -> str | None:
    """Say what kind of JPEG it is that the training engine cannot read; None for other data."""
    if not data.startswith(START):
        return None
    structure = structure_of(data, 0, short=True)
    process = f"process SOF{structure.frame - ALL_FRAMES[0]}"
    if structure.frame not in ALL_FRAMES:
        return "is a JPEG whose header is damaged: it names no size"
    if not all(structure.size):
        return f"is a JPEG of {structure.size[0]} x {structure.size[1]} pixels by its header, which is damaged"
    if structure.bits != 8:
        what, expected = f"{structure.bits} bits a channel ({process})", "8"
    elif structure.frame not in FRAME_CODES:
        what, expected = f"an unusual way of encoding ({process})", "baseline or progressive (SOF0 to SOF2)"
    elif structure.components not in CHANNELS:
        what, expected = f"{structure.components} channels", "1, 3 or 4"
    else:
        return "is a JPEG whose header is damaged"
    return f"is a JPEG with {what}, which the training engine cannot read; expected {expected}"


def cut_in_header(data: bytes) -> bool:
    """Tell whether data is the first part of a JPEG, which ends before the header says anything about the picture."""
    if not data.startswith(START) or data.endswith(END):
        return False
    structure = structure_of(data, 0, short=True)
    return not structure.frame and structure.end is None
