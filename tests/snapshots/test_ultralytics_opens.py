"""What passes the gate, OpenCV opens, with which the training engine reads: PNG, BMP and TIFF that lack a part."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from sightline.image_files import images
from sightline.policy import Thresholds
from sightline.validate.repair.image_bytes import reencode

BROKEN = {"truncated-image", "damaged-image", "unreadable-image"}
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PNGS = [
    (1, 0),
    (2, 0),
    (4, 0),
    (8, 0),
    (16, 0),
    (8, 2),
    (16, 2),
    (1, 3),
    (4, 3),
    (8, 3),
    (8, 4),
    (16, 4),
    (8, 6),
    (16, 6),
]
PASSES = {
    0: ((0, 0, 1, 1),),
    1: ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
}


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def rows(size: tuple[int, int], bits: int, colours: int, interlaced: int = 0) -> list[bytes]:
    """Rows of noise as a PNG stores them, each with its filter in front, before they are compressed."""
    rng = np.random.default_rng(0)
    result = []
    for left, top, across, down in PASSES[interlaced]:
        columns, count = -(-(size[0] - left) // across), -(-(size[1] - top) // down)
        if columns > 0:
            width = (columns * bits * CHANNELS[colours] + 7) // 8
            result += [b"\0" + rng.integers(1, 256, width, np.uint8).tobytes() for _ in range(count)]
    return result


def png(
    content: bytes, size: tuple[int, int], bits: int = 8, colours: int = 2, interlaced: int = 0, extra: bytes = b""
) -> bytes:
    """A PNG whose checksums are all right, whatever its compressed data."""
    palette = chunk(b"PLTE", np.random.default_rng(1).bytes(3 * 2**bits)) if colours == 3 else b""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colours, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + header + extra + palette + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def engine_opens(data: bytes) -> bool:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None


def inspect(path: Path, data: bytes) -> dict[str, str]:
    path.write_bytes(data)
    images.prepare(Thresholds())
    with warnings.catch_warnings(action="ignore"):  # as the scan does
        _, found = images.inspect(str(path), path.name, Thresholds())
    return {item.rule: item.message for item in found if item.rule in BROKEN}


@pytest.mark.parametrize("size", [(33, 21), (4, 4), (1, 9)])
@pytest.mark.parametrize("interlaced", [0, 1])
def test_a_png_whose_data_ends_before_its_picture_is_truncated_whatever_its_kind(tmp_path, size, interlaced):
    for bits, colours in PNGS:
        whole = rows(size, bits, colours, interlaced)
        black = [bytes(len(row)) for row in whole]
        for kept, passes in (
            (whole, True),
            (black, True),
            (whole * 2, True),  # more than it needs
            (whole[: len(whole) // 2], False),
            (whole[:-1], False),
            (black[:-1], False),
            ([], False),
        ):
            data = png(zlib.compress(b"".join(kept)), size, bits, colours, interlaced)
            assert engine_opens(data) is passes
            found = inspect(tmp_path / "a.png", data)
            assert list(found) == ([] if passes else ["truncated-image"]), (bits, colours, len(kept))


SIZE = (33, 21)
NOISE = b"".join(rows(SIZE, 8, 2))
GOOD = png(zlib.compress(NOISE), SIZE)
REFUSED = {
    "half its last chunk": (GOOD[:-1], "truncated-image"),
    "no last chunk": (GOOD[:-12], "truncated-image"),
    "zeros for its last chunk": (GOOD[:-12] + bytes(12), "truncated-image"),
    "its signature alone": (GOOD[:8], "truncated-image"),
    "half its header": (GOOD[:20], "truncated-image"),
    "data cut within a row": (png(zlib.compress(NOISE)[:-2000], SIZE), "truncated-image"),
    "another checksum of its data": (png(zlib.compress(NOISE)[:-4] + b"abcd", SIZE), "unreadable-image"),
    "an unknown filter": (png(zlib.compress(b"\x09" + NOISE[1:]), SIZE), "unreadable-image"),
    "no palette": (png(zlib.compress(NOISE), SIZE, 8, 2).replace(GOOD[8:33], chunk(
        b"IHDR", struct.pack(">IIBBBBB", *SIZE, 8, 3, 0, 0, 0))), "unreadable-image"),
    "an unknown chunk that is needed": (png(zlib.compress(NOISE), SIZE, extra=chunk(b"ABCD", b"")), "unreadable-image"),
    "two headers": (png(zlib.compress(NOISE), SIZE, extra=GOOD[8:33]), "unreadable-image"),
    "no pixels": (png(b"", (0, 0)), "unreadable-image"),
    "a broken checksum in its header": (GOOD[:29] + b"abcd" + GOOD[33:], "unreadable-image"),
}  # fmt: skip


@pytest.mark.parametrize("how", REFUSED)
def test_a_png_that_the_engine_cannot_open_never_passes(tmp_path, how):
    data, rule = REFUSED[how]
    assert not engine_opens(data)
    assert list(inspect(tmp_path / "a.png", data)) == [rule]


def test_what_the_engine_passes_over_in_a_png_is_no_fault(tmp_path):
    parts = zlib.compress(NOISE)
    for data in (
        GOOD + bytes(4000),
        GOOD[:33] + chunk(b"IDAT", b"") + GOOD[33:],
        GOOD[:33] + chunk(b"IDAT", parts[:50]) + chunk(b"IDAT", parts[50:]) + GOOD[-12:],
    ):
        assert engine_opens(data)
        assert inspect(tmp_path / "a.png", data) == {}


def test_a_truncated_png_is_not_repaired_into_half_a_picture():
    for bits, colours in ((8, 6), (16, 2)):
        half = zlib.compress(b"".join(rows(SIZE, bits, colours)[:10]))
        with pytest.raises(ValueError, match="rows are missing"):
            reencode(png(half, SIZE, bits, colours), ".png")
    with pytest.raises(ValueError, match="unrecognized data stream"):
        reencode(REFUSED["an unknown filter"][0], ".png")


def test_missing_rows_are_found_in_no_more_memory_than_the_picture_takes(tmp_path):
    code = (
        "import resource; from sightline.image_files import images; from sightline.policy import Thresholds;"
        "images.prepare(Thresholds());"
        "print([found.rule for found in images.inspect('a.png', 'a.png', Thresholds())[1]]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    row = b"\0" + bytes(range(250)) * 24
    peaks = []
    for count, rules in ((6000, "[]"), (5999, "['truncated-image']")):
        (tmp_path / "a.png").write_bytes(png(zlib.compress(row * count, 1), (6000, 6000), 8, 0))
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        said, peak = done.stdout.splitlines()
        assert said == rules
        peaks.append(int(peak))
    assert peaks[1] - peaks[0] < 15_000, "of a picture of 36 MB, whose last row tells in the first file"


# --- other formats


def picture(mode: str = "RGB") -> Image.Image:
    pixels = cv2.resize(np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8), (65, 49))
    return Image.fromarray(pixels).convert(mode)


def encoded(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture(mode).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_a_bmp_without_its_last_byte_is_truncated_even_if_that_only_fills_a_row(tmp_path, mode):
    data = encoded("BMP", mode)
    assert inspect(tmp_path / "a.bmp", data) == {}
    assert not engine_opens(data[:-1])
    found = inspect(tmp_path / "a.bmp", data[:-1])
    assert found == {"truncated-image": f"ends too early, after {len(data) - 1} of {len(data)} bytes"}


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"{name}.tif": ("TIFF", {"compression": f"tiff_{name}"}) for name in ("lzw", "adobe_deflate")},
    "jpeg.tif": ("TIFF", {"compression": "jpeg"}),
    "plain.tif": ("TIFF", {}),
    "big.tif": ("TIFF", {"big_tiff": True}),
    "a.webp": ("WEBP", {}),
    "lossless.webp": ("WEBP", {"lossless": True}),
    "a.bmp": ("BMP", {}),
    "a.jpg": ("JPEG", {}),
    "a.png": ("PNG", {}),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_was_cut_is_truncated_wherever_its_end_is_missing(tmp_path, name, capfd):
    kind, options = KINDS[name]
    data = encoded(kind, **options)
    assert inspect(tmp_path / name, data) == {}
    for kept in (2, 3, 6, 15, 30, len(data) // 4, len(data) // 2, len(data) - 30, len(data) - 2, len(data) - 1):
        assert list(inspect(tmp_path / name, data[:kept])) == ["truncated-image"], kept
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_libtiff_says_nothing_on_the_console_about_a_file_it_does_not_name(tmp_path, compression, capfd):
    data = bytearray(encoded("TIFF", compression=compression))
    data[len(data) // 2 :][:300] = bytes(300)
    for place in range(200, len(data) - 200, 97):
        damaged = bytes(data[:place]) + os.urandom(100) + bytes(data[place + 100 :])
        inspect(tmp_path / "a.tif", damaged)
    assert capfd.readouterr().err == ""


# --- what stands in the place of an image


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 9\n",
            "is a Git LFS pointer, not the image",
        ),
        (b"/annex/objects/SHA256E-s9--abc.jpg\n", "is a git-annex pointer"),
        (b"\n<!DOCTYPE html><html>404</html>", "is no image but a web page"),
        (b"<HTML><body>sign in</body></HTML>", "is no image but a web page"),
        (b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "is no image but an XML document"),
        (b'{"message": "Not Found"}', "is no image but a JSON document"),
        (b"/9j/4AAQSkZJRgABAQAAAQABAAD", "is an image written as text (base64)"),
        (bytes(20_000), "holds nothing but zeros"),
        (b"\0\0\0\x18ftypheic" + bytes(99), "is of an unsupported kind, HEIC; expected one of JPEG, PNG"),
        (b"GIF89a" + bytes(99), "is of an unsupported kind, GIF"),
        (b"PK\x03\x04" + bytes(99), "is of an unsupported kind, an archive"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is of an unsupported kind, SVG"),
        (b"neither this nor that", "is no image, or of an unsupported kind: its bytes are none of JPEG"),
    ],
)
def test_what_stands_in_the_place_of_an_image_is_named(tmp_path, data, words):
    found = inspect(tmp_path / "a.jpg", data)
    assert list(found) == ["unreadable-image"]
    assert found["unreadable-image"].startswith(words)


def jpeg_with(**header: int) -> bytes:
    """A JPEG whose header says something else of it."""
    data = bytearray(encoded("JPEG"))
    place = data.index(b"\xff\xc0")
    offsets = {"process": (1, 1), "bits": (4, 1), "height": (5, 2), "width": (7, 2), "channels": (9, 1)}
    for name, value in header.items():
        offset, size = offsets[name]
        data[place + offset : place + offset + size] = value.to_bytes(size)
    return bytes(data)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"width": 0, "height": 0}, "is a JPEG of 0 x 0 pixels by its header, which is damaged"),
        ({"height": 0}, "is a JPEG of 65 x 0 pixels by its header, which is damaged"),
        ({"bits": 12}, "is a JPEG with 12 bits a channel (process SOF0), which the training engine cannot read; "
         "expected 8"),
        ({"channels": 2}, "is a JPEG with 2 channels, which the training engine cannot read; expected 1, 3 or 4"),
    ],
)  # fmt: skip
def test_what_the_header_of_a_jpeg_says_is_reported_as_it_is(tmp_path, header, words):
    assert inspect(tmp_path / "a.jpg", jpeg_with(**header)) == {"unreadable-image": words}
