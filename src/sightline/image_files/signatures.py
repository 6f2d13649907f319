"""What a file is that is named as an image and that no decoder takes: judged by its first bytes and its header."""

from __future__ import annotations

import re
import struct
from typing import Literal

from PIL import BmpImagePlugin, Image

from sightline.image_files import jpeg_markers, png
from sightline.rules import Issue

FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
STARTS = (jpeg_markers.START, png.SIGNATURE, b"BM", b"RIFF", b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
SAID_TRUNCATED = (
    "truncated",
    "incomplete",
    "unexpected end",
    "not enough image data",
)  # by Pillow, of data that ends too early
OF_A_CHUNK = re.compile(r"Truncated \w{4} chunk")  # by Pillow, of a part of a PNG that is too short
UNTOLD = ("decoder error", "could not create decoder object")  # by Pillow, of data that libtiff or libwebp refuse
SERVER = "as a server sends in place of a file that it does not have: download the image again"
# What lies in the place of an image, and what to do about it.
STAND_INS = (
    (re.compile(rb"version https://git-lfs"), "is a Git LFS pointer, not the image itself: run `git lfs pull`"),
    (re.compile(rb"(\.\./)*(\.git)?/annex/objects/"), "is a git-annex pointer, not the image: `git annex get` it"),
    (re.compile(rb"(?is)(<\?xml[^>]*>)?\s*(<!--.{0,500}?-->\s*)?<!doctype html|\s*<(html|head|body|script)\b"),
     f"is no image but a web page, {SERVER}"),
    (re.compile(rb"(?is)(?!.{0,1000}<svg)\s*(<\?xml|<error\b)"), f"is no image but an XML document, {SERVER}"),
    (re.compile(rb"\s*\{\s*\""), f"is no image but a JSON document, {SERVER}"),
    (re.compile(rb"data:image/|/9j/|iVBORw0KGgo"), "is an image written as text (base64): decode it"),
    (re.compile(rb"\x00+\Z"), "holds nothing but zeros, as after a crash of the machine that wrote it: copy it again"),
)  # fmt: skip
READ = (
    (re.compile(rb"\x89PNG"), "PNG"),
    (re.compile(rb"II[*+]\x00|MM\x00[*+]"), "TIFF"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "WebP"),
    (re.compile(rb"BM....\x00\x00\x00\x00", re.DOTALL), "BMP"),
)
# Kinds of images, and of other files, that are not read.
OTHERS = (
    (re.compile(rb"GIF8"), "GIF"),
    (re.compile(rb"....ftyp(hei|hev|mif1|msf1)", re.DOTALL), "HEIC"),
    (re.compile(rb"....ftypavi", re.DOTALL), "AVIF"),
    (re.compile(rb"....ftyp", re.DOTALL), "a video"),
    (re.compile(rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51"), "JPEG 2000"),
    (re.compile(rb"\x00\x00\x00\x0cJXL |\xff\x0a"), "JPEG XL"),
    (re.compile(rb"P[1-7]\s"), "Netpbm"),
    (re.compile(rb"\x00\x00\x01\x00"), "ICO"),
    (re.compile(rb"8BPS"), "Photoshop"),
    (re.compile(rb"%PDF"), "PDF"),
    (re.compile(rb".{128}DICM", re.DOTALL), "DICOM"),
    (re.compile(rb"(?is).{0,1000}<svg\b"), "SVG"),
    (re.compile(rb"PK\x03\x04|\x1f\x8b|Rar!|7z\xbc\xaf"), "an archive"),
)
TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
TIFF_PLACES = {273: 279, 324: 325}  # tags: where strips and tiles lie, and their sizes in bytes
BMP_HEADER = 26  # bytes of the shortest
MOST_DIRECTORIES = 1000  # of a TIFF that are looked at


def unidentified(source: str, data: bytes) -> Issue:
    """Say what a file is that Pillow takes for no image."""
    if not data:
        return Issue("unreadable-image", source, "is empty")
    if cut := _cut(data):
        return Issue("truncated-image", source, cut)
    words = jpeg_markers.unread(data) or _stand_in(data)
    if not words and (broken := png.damage(data) if data.startswith(png.SIGNATURE) else None):
        words = broken.message
    if not words and (kind := next((kind for pattern, kind in READ if pattern.match(data)), None)):
        words = f"is a {kind} whose header is damaged"
    expected = ", ".join(FORMATS)
    if not words and (other := next((name for pattern, name in OTHERS if pattern.match(data)), None)):
        words = f"is of an unsupported kind, {other}; expected one of {expected}"
    words = words or f"is no image, or of an unsupported kind: its bytes are none of {expected}"
    return Issue("unreadable-image", source, words)


def undecodable(source: str, data: bytes, reason: str) -> Issue:
    """Say what is wrong with an image for which a decoder gave a reason."""
    if cut := _cut(data):
        return Issue("truncated-image", source, cut)
    if data and any(words in reason.lower() for words in SAID_TRUNCATED) and not OF_A_CHUNK.match(reason):
        return Issue("truncated-image", source, f"ends too early, after {len(data)} bytes ({reason})")
    reason = "its compressed data is damaged" if reason.startswith(UNTOLD) else reason
    return Issue("unreadable-image", source, f"cannot be decoded ({reason})")


def bmp_end(image: Image.Image) -> int:
    """Return where the last row of an uncompressed BMP ends that is opened, not loaded; 0 for others.

    Pillow does without the bytes that fill up the last row, the training engine does not.
    """
    if not isinstance(image, BmpImagePlugin.BmpImageFile) or not image.tile:
        return 0
    codec, _, offset, args = image.tile[0]
    return int(offset + args[1] * image.height) if codec == "raw" and isinstance(args, tuple) else 0


def _stand_in(data: bytes) -> str | None:
    return next((words for pattern, words in STAND_INS if pattern.match(data)), None)


def _cut(data: bytes) -> str | None:
    """Say that a file lacks its end, where its header says where that would be; None if it does not, or it is there."""
    if data and any(start.startswith(data) for start in STARTS):
        return f"ends too early, after {len(data)} bytes"
    if jpeg_markers.cut_in_header(data):
        return f"ends too early, after {len(data)} bytes: within its header"
    if data.startswith(png.SIGNATURE):
        broken = png.damage(data)
        return broken.message if broken and broken.rule == "truncated-image" else None
    end = _end(data)
    return f"ends too early, after {len(data)} bytes of {end} or more" if end > len(data) else None


def _end(data: bytes) -> int:
    """Return where a WebP, BMP or TIFF ends by its own words, in bytes; 0 where nothing is said."""
    if data.startswith(b"RIFF") and data[8:12] in (b"WEBP", b""):
        return int.from_bytes(data[4:8], "little") + 8
    if data.startswith(b"BM"):
        return max(int.from_bytes(data[2:6], "little"), BMP_HEADER)
    if data.startswith((b"II", b"MM")):
        return _tiff_end(data, "<" if data.startswith(b"II") else ">")
    return 0


def _tiff_end(data: bytes, order: Literal["<", ">"]) -> int:
    """Return the furthest byte that the directories of a TIFF point to (TIFF 6.0, section 2, and BigTIFF)."""
    version = data[2:4].strip(b"\x00")
    if version not in (b"*", b"+"):
        return 0
    # Where the first directory is named; how its count, an entry's count of values and a place in the file are written.
    first, count, amount, place = (8, "Q", "Q", "Q") if version == b"+" else (4, "H", "I", "I")
    entry = struct.Struct(f"{order}HH{amount}")
    width = struct.calcsize(place)
    end = first + width
    try:
        (directory,) = struct.unpack_from(order + place, data, first)
        for _ in range(MOST_DIRECTORIES):
            if not directory:
                break
            end = max(end, directory + struct.calcsize(count))
            (entries,) = struct.unpack_from(order + count, data, directory)
            start = directory + struct.calcsize(order + count)
            after = start + entries * (entry.size + width)
            end = max(end, after + width)
            if end > len(data):
                break
            values = {}
            for at in range(start, after, entry.size + width):
                tag, kind, number = entry.unpack_from(data, at)
                size = number * TIFF_SIZES.get(kind, 0)
                lies = at + entry.size if size <= width else struct.unpack_from(order + place, data, at + entry.size)[0]
                end = max(end, lies + size)
                if tag in (*TIFF_PLACES, *TIFF_PLACES.values()) and kind in (3, 4, 16):
                    code = {3: "H", 4: "I", 16: "Q"}[kind]
                    values[tag] = struct.unpack_from(f"{order}{number}{code}", data, lies)
            for places, sizes in TIFF_PLACES.items():
                parts = zip(values.get(places, ()), values.get(sizes, ()), strict=False)
                end = max(end, max((sum(part) for part in parts), default=0))
            (directory,) = struct.unpack_from(order + place, data, after)
    except struct.error:  # what is named lies behind the end
        pass
    return end
