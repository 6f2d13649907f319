"""A PNG: whether its chunks are whole, and whether all rows of its picture are there.

Pillow fills up rows that are missing with zeros and reports success; the training engine does not open such a file.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from PIL import Image

from sightline.image_files.jpeg import Wrong

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BITS, COLOURS, METHODS, INTERLACED = 24, 25, slice(26, 28), 28  # where the header, which is always first, says so
HEADER = 13  # bytes of it
PALETTE = 3  # the type of colours that are numbers in a palette
CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")  # without these no picture can be made; others begin in upper case too
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by type of colours (PNG specification, 11.2.1)
# The passes of Adam7 (8.1): where the first pixel lies, left and top, and the steps to the next, across and down.
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
ONE_PASS = ((0, 0, 1, 1),)
PIECE = 2**16  # bytes that are decompressed at once, of a file that may be made to fill the memory


def damage(data: bytes) -> Wrong | None:
    """Say what is wrong with the chunks of a PNG.

    Each must match its checksum, the last one must be there, and header and palette must be as libpng, with which the
    training engine reads, wants them.
    """
    place = len(SIGNATURE)
    seen: set[bytes] = set()
    for kind, start, end in _chunks(data):
        if zlib.crc32(memoryview(data)[start - 4 : end]) != int.from_bytes(data[end : end + 4]):
            if not any(data[start - 8 :]):
                break
            name = kind.decode("ascii", "backslashreplace")
            return Wrong("unreadable-image", f"is damaged: the checksum of its chunk {name} is wrong")
        if words := _refused(data, kind, end - start, seen):
            return Wrong("unreadable-image", f"is a PNG that {words}, which the training engine cannot read")
        seen.add(kind)
        if kind == b"IEND":
            return None
        place = end + 4
    message = f"ends too early, after {len(data)} bytes: its chunks are whole up to byte {place}, and IEND is not there"
    return Wrong("truncated-image", message)


def _refused(data: bytes, kind: bytes, size: int, before: set[bytes]) -> str | None:
    """Say why libpng refuses a chunk of `size` bytes behind those of the kinds `before`; None if it does not."""
    if (kind == b"IHDR") == bool(before) or (kind == b"IHDR" and size != HEADER):
        return "does not begin with its header" if not before else "has two headers"
    if kind == b"IHDR" and (any(data[METHODS]) or data[INTERLACED] > 1):
        return "is compressed, filtered or interlaced by an unknown method"
    if kind[:1].isupper() and kind not in CRITICAL:
        return f"has an unknown chunk that is needed to read it ({kind.decode('ascii', 'backslashreplace')})"
    coloured = data[COLOURS] == PALETTE
    if coloured and (
        (kind == b"PLTE" and (size % 3 or not 0 < size <= 768)) or (kind == b"IDAT" and b"PLTE" not in before)
    ):
        return "lacks its palette, or has a damaged one"
    return None


def lacks_rows(data: bytes, image: Image.Image) -> bool:
    """Tell whether the compressed data of a PNG ends before its picture does. Raises zlib.error where it is broken.

    `image` is what Pillow made of it, decoded. Rows are stored from top to bottom, and a missing one is zero: a last
    row that is not spares decompressing all of it once more.
    """
    width, height = image.size
    if not data[INTERLACED] and any(image.crop((0, height - 1, width, height)).tobytes()):
        return False
    bits = data[BITS] * CHANNELS[data[COLOURS]]
    left = 0
    for x, y, across, down in ADAM7 if data[INTERLACED] else ONE_PASS:
        columns, rows = -((x - width) // across), -((y - height) // down)
        if columns > 0 and rows > 0:
            left += rows * (1 + (columns * bits + 7) // 8)  # each row begins with the kind of its filter
    stream = zlib.decompressobj()
    for kind, start, end in _chunks(data):
        for place in range(start, end, PIECE) if kind == b"IDAT" else ():
            piece = data[place : min(place + PIECE, end)]
            while piece and left > 0 and not stream.eof:
                left -= len(stream.decompress(piece, PIECE))
                piece = stream.unconsumed_tail
    while left > 0 and (rest := stream.decompress(b"", PIECE)):
        left -= len(rest)
    return left > 0


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each chunk that is there as a whole, and where its content starts and ends."""
    place = len(SIGNATURE)
    while (start := place + 8) <= len(data):
        end = start + int.from_bytes(data[place : place + 4])
        place = end + 4  # behind the checksum
        if place > len(data):
            return
        yield data[start - 4 : start], start, end
