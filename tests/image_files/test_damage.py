"""Images that are damaged in the middle or lack their end: every kind of damage in every kind of JPEG is seen."""

from __future__ import annotations

import functools
import io
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from sightline.image_files import images, jpeg
from sightline.policy import Thresholds
from sightline.validate.repair.image_bytes import reencode

END = b"\xff\xd9"
BROKEN = {"truncated-image", "damaged-image", "unreadable-image"}
OPENCV: dict[str, list[int]] = {
    "baseline": [],
    "optimised": [cv2.IMWRITE_JPEG_OPTIMIZE, 1],
    "progressive": [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
    "restarts": [cv2.IMWRITE_JPEG_RST_INTERVAL, 8],
    "4:4:4": [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444],
    "4:2:2": [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422],
    "4:4:0": [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440],
    "4:1:1": [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411],
}
KINDS = (*OPENCV, "grey", "CMYK", "RGB colours")


@functools.cache
def scene() -> np.ndarray[Any, Any]:
    """A picture of 333 x 251 pixels with slopes, edges and grain: no multiple of a block of any subsampling."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8)).resize((333, 251), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(coarse, np.int16) + rng.integers(-9, 10, (251, 333, 3)), 0, 255).astype(np.uint8)


@functools.cache
def encoded(kind: str) -> bytes:
    pixels = scene()
    if kind in OPENCV:
        return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90, *OPENCV[kind]])[1].tobytes()
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    options = {"keep_rgb": True} if kind == "RGB colours" else {}
    image.convert({"grey": "L", "CMYK": "CMYK"}.get(kind, "RGB")).save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def scan(data: bytes) -> tuple[int, int]:
    """Return where the data of the first scan starts and that of the last one ends."""
    place = data.index(b"\xff\xda")
    return place + 2 + int.from_bytes(data[place + 2 : place + 4]), len(data) - 2


def damaged(data: bytes, how: str) -> bytes:
    start, end = scan(data)
    middle, size = (start + end) // 2, 4096
    match how:
        case "zeros":
            return data[:middle] + bytes(size) + data[middle + size :]
        case "half of it zeros":
            quarter = (end - start) // 4
            return data[: start + quarter] + bytes(2 * quarter) + data[start + 3 * quarter :]
        case "zeros to the end":
            return data[:middle] + bytes(end - middle) + END
        case "junk":
            return data[:middle] + np.random.default_rng(1).bytes(size) + data[middle + size :]
        case "ones":
            return data[:middle] + b"\xff" * size + data[middle + size :]
        case "a part lost":
            return data[:middle] + data[middle + size :]
        case "a part twice":
            return data[: middle + size] + data[middle:]
        case "other codes":  # a table of Huffman codes
            place = data.index(b"\xff\xc4") + 5
            return data[:place] + bytes([data[place] ^ 3, data[place + 1] ^ 3]) + data[place + 2 :]
        case "a zero to divide by":  # in a quantisation table
            place = data.index(b"\xff\xdb") + 30
            return data[:place] + b"\x00" + data[place + 1 :]
        case "other height":
            place = next(data.index(code) for code in (b"\xff\xc0", b"\xff\xc2") if code in data) + 5
            return data[:place] + (200).to_bytes(2) + data[place + 2 :]
        case "cut":
            return data[:middle] + END
        case "cut near the end":
            return data[: end - 20] + END
    raise AssertionError(how)


DAMAGES = (
    *("zeros", "half of it zeros", "zeros to the end", "junk", "ones", "a part lost", "a part twice"),
    *("other codes", "a zero to divide by", "other height", "cut", "cut near the end"),
)


def inspect(path: Path, data: bytes) -> tuple[images.ImageInfo | None, dict[str, str]]:
    path.write_bytes(data)
    images.prepare(Thresholds())
    with warnings.catch_warnings(action="ignore"):  # as the scan does
        info, found = images.inspect(str(path), path.name, Thresholds())
    return info, {item.rule: item.message for item in found}


@pytest.mark.parametrize("kind", KINDS)
def test_whole_jpegs_of_every_kind_are_no_false_alarm(tmp_path, kind):
    info, found = inspect(tmp_path / "a.jpg", encoded(kind))
    assert (info.width, info.height, found) == (333, 251, {})
    pixels, wrong = jpeg.decoded(encoded(kind), 48)
    assert (pixels.shape, wrong) == ((63, 84), None)  # a quarter: an eighth would be lower than 48


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_seen_in_every_kind_of_jpeg_at_a_part_of_its_size(tmp_path, kind, how):
    _, found = inspect(tmp_path / "a.jpg", damaged(encoded(kind), how))
    assert len(found) == 1
    assert set(found) <= BROKEN
    if how.startswith("cut"):
        assert found == {"truncated-image": "its end marker comes before the end of its picture"}


@pytest.mark.parametrize("lost", ["a marker", "an interval", "eight intervals"])
def test_lost_restart_intervals_are_seen(tmp_path, lost):
    data = encoded("restarts")
    start = data.index(b"\xff\xd3", scan(data)[0])
    ends = {"a marker": start + 2, "an interval": data.index(b"\xff\xd4", start)}
    end = ends.get(lost, data.index(b"\xff\xd3", start + 2))
    assert list(inspect(tmp_path / "a.jpg", data[:start] + data[end:])[1]) == ["damaged-image"]


@pytest.mark.parametrize("kept", [1, 3, 6])
def test_missing_scans_of_a_progressive_jpeg_are_seen(tmp_path, kept):
    data = encoded("progressive")
    parts = data.split(b"\xff\xda")
    cut = b"\xff\xda".join(parts[: kept + 1])
    cut = cut[: cut.rindex(b"\xff\xc4")] if b"\xff\xc4" in parts[kept] else cut  # with the tables of the next one
    _, found = inspect(tmp_path / "a.jpg", cut + END)
    assert found == {"truncated-image": "lacks scans: its end marker comes before the end of its picture"}


def test_a_damaged_picture_is_kept_with_a_warning_where_the_policy_says_so(sets, gate_of):
    root = sets.yolo()
    name = next((root / "images" / "train").iterdir())
    bad = name.with_suffix(".jpg")
    name.rename(bad)
    bad.write_bytes(damaged(encoded("restarts"), "half of it zeros"))
    assert gate_of(root, {}) == ("rejected", {"damaged-image": 1})
    assert gate_of(root, {"damaged-image": "warning"})[0] == "accepted"


@pytest.fixture
def gate_of():
    from sightline.config.presets import resolve
    from sightline.validate import validated_source

    def gate(root: Path, rules: dict[str, str]) -> tuple[str, dict[str, int]]:
        with validated_source.opened(str(root), resolve("balanced", {"data.policy": {"rules": rules}})) as result:
            document = result.document
        return document.verdict, {item.rule: item.count for item in document.findings if item.severity == "error"}

    return gate


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("zeros", [12, 100])
def test_zeros_that_a_camera_puts_before_the_end_marker_are_no_damage(tmp_path, kind, zeros):
    good = encoded(kind)
    padded = good.removesuffix(END) + bytes(zeros) + END
    _, found = inspect(tmp_path / "a.jpg", padded)
    assert found == {"trailing-bytes": f"has {zeros} bytes of filling between its picture and its end marker"}
    assert reencode(padded, ".jpg") == (good, ".jpg", f"cut {zeros} bytes of filling before its end") or kind == "CMYK"


@pytest.mark.parametrize("part", ["version of JFIF", "limits of the scan", "Adobe's colours"])
def test_odd_words_in_the_header_are_no_damage_and_hide_none(tmp_path, part):
    data = bytearray(encoded("CMYK" if part == "Adobe's colours" else "baseline"))
    if part == "version of JFIF":
        data[data.index(b"JFIF") + 5] = 7
    elif part == "Adobe's colours":
        data[data.index(b"Adobe") + 11] = 9
    else:
        data[scan(bytes(data))[0] - 3 : scan(bytes(data))[0]] = bytes(3)
    assert inspect(tmp_path / "a.jpg", bytes(data))[1] == {}
    assert set(inspect(tmp_path / "b.jpg", damaged(bytes(data), "half of it zeros"))[1]) <= {
        "damaged-image",
        "truncated-image",
    }


def test_twelve_bits_a_channel_are_named(tmp_path):
    data = encoded("baseline")
    place = data.index(b"\xff\xc0")
    deep = data[: place + 1] + b"\xc1" + data[place + 2 : place + 4] + b"\x0c" + data[place + 5 :]
    words = "is a JPEG with 12 bits a channel (process SOF1), which the training engine cannot read; expected 8"
    assert inspect(tmp_path / "a.jpg", deep) == (None, {"unreadable-image": words})


def flat(factors: list[tuple[int, int]], more: int = 0, frame: int = 0xC0) -> bytes:
    """A grey JPEG of 333 x 251 pixels with any sampling factors, each code a zero bit, and `more` bytes of them."""
    wide, high = (8 * max(sides) for sides in zip(*factors, strict=True))
    bits = 2 * -(-333 // wide) * -(-251 // high) * sum(h * v for h, v in factors)
    count = len(factors).to_bytes()
    sampling = b"".join(bytes([number, h << 4 | v, 0]) for number, (h, v) in enumerate(factors))
    return b"".join(
        (
            b"\xff\xd8\xff\xdb\x00\x43\x00" + b"\x01" * 64,
            b"\xff" + bytes([frame]) + (8 + len(sampling)).to_bytes(2) + b"\x08\x00\xfb\x01\x4d" + count + sampling,
            *(b"\xff\xc4\x00\x14" + table + b"\x01" + bytes(16) for table in (b"\x00", b"\x10")),
            b"\xff\xda" + (6 + 2 * len(factors)).to_bytes(2) + count,
            *(bytes([number, 0]) for number in range(len(factors))),
            b"\x00\x3f\x00" + bytes((bits + 7) // 8 - 1 + more) + bytes([(1 << -bits % 8) - 1]) + END,
        )
    )


ODD = [[(4, 2), (1, 1), (1, 1)], [(3, 1), (1, 1), (1, 1)], [(2, 2), (2, 1), (1, 2)], [(1, 1), (2, 2), (2, 2)], [(2, 2)]]


@pytest.mark.parametrize("factors", ODD)
def test_odd_subsamplings_are_read_and_their_damage_is_seen(tmp_path, factors, capfd):
    info, found = inspect(tmp_path / "a.jpg", flat(factors))
    assert (info.width, info.height, found) == (333, 251, {})
    assert info.thumb == np.full(256, 128, np.float16).tobytes()
    assert list(inspect(tmp_path / "b.jpg", flat(factors, -20))[1]) == ["truncated-image"]
    assert list(inspect(tmp_path / "c.jpg", flat(factors, 1000))[1]) == ["damaged-image"]
    assert capfd.readouterr().err == ""


def test_a_lossless_jpeg_never_reaches_the_decoder_that_would_write_past_its_memory(tmp_path):
    code = (
        "from pathlib import Path; from sightline.image_files import jpeg; jpeg.decoded(Path('a.jpg').read_bytes(), 48)"
    )
    for factors in ([(1, 1)], [(1, 1)] * 3):
        _, found = inspect(tmp_path / "a.jpg", flat(factors, 9000, 0xC3))
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 1, done.stderr  # a broken heap ends it by a signal
        assert "ValueError: it is a JPEG with an unusual way of encoding (process SOF3)" in done.stderr
        assert found


def test_two_frames_are_refused_and_odd_bytes_between_the_parts_of_a_header_are_not(tmp_path):
    data = encoded("baseline")
    end = data.index(b"\xff\xc0") + 19
    odd = data[:end] + b"odd bytes" + data[end:]
    assert inspect(tmp_path / "a.jpg", odd)[1] == {}
    assert set(inspect(tmp_path / "b.jpg", damaged(odd, "half of it zeros"))[1]) <= {"damaged-image", "truncated-image"}
    info, found = inspect(tmp_path / "c.jpg", data[:end] + data[end - 19 : end] + data[end:])
    assert (info, list(found)) == (None, ["unreadable-image"])


# --- other formats


@functools.cache
def other(format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(scene()).save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("how", ["zeros", "junk", "a part lost", "a turned bit"])
def test_damage_in_the_middle_of_a_png_is_seen(tmp_path, how):
    data = other("PNG")
    middle = len(data) // 2
    part = {"zeros": bytes(512), "junk": b"junk" * 128, "a part lost": b"", "a turned bit": None}[how]
    flipped = data[:middle] + bytes([data[middle] ^ 8]) + data[middle + 1 :]
    bad = flipped if part is None else data[:middle] + part + data[middle + 512 :]
    assert list(inspect(tmp_path / "a.png", bad)[1]) == ["unreadable-image"]


@pytest.mark.parametrize(
    ("suffix", "format", "options"),
    [
        *((".bmp", "BMP", {}), (".webp", "WEBP", {}), (".webp", "WEBP", {"lossless": True}), (".png", "PNG", {})),
        *((".tif", "TIFF", {"compression": kind}) for kind in ("raw", "tiff_lzw", "tiff_deflate", "jpeg", "packbits")),
    ],
)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95, None])
def test_a_lost_part_or_a_missing_end_is_seen_in_every_format(tmp_path, share, suffix, format, options):
    data = other(format, **options)
    middle = len(data) // 2
    bad = data[: int(len(data) * share)] if share else data[:middle] + data[middle + 512 :]
    _, found = inspect(tmp_path / f"a{suffix}", bad)
    assert set(found) <= {"truncated-image", "unreadable-image"}
    assert found
