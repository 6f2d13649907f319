"""The rules about one image file: real files, each damaged or odd in one way."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.image_files import images, thumbnails
from sightline.policy import Thresholds
from sightline.validate.checks import near_duplicates
from sightline.validate.repair import image_bytes


@pytest.fixture(autouse=True)
def _prepared():
    before = Image.MAX_IMAGE_PIXELS
    images.prepare(Thresholds())
    yield
    Image.MAX_IMAGE_PIXELS = before


def photo(size: tuple[int, int] = (320, 240), seed: int = 0) -> Image.Image:
    """A smooth picture with edges, as cameras make them: noise alone survives no encoding."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


def glass() -> Image.Image:
    """A picture with one transparent pixel."""
    image = photo().convert("RGBA")
    image.putpixel((5, 5), (0, 0, 0, 0))
    return image


def encoded(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def inspect(path: Path, data: bytes, **thresholds):
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as the scan does
        info, found = images.inspect(str(path), path.name, Thresholds(**thresholds))
    return info, [item.rule for item in found]


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


KINDS = {"a.jpg": "JPEG", "a.JPEG": "JPEG", "a.png": "PNG", "a.bmp": "BMP", "a.webp": "WEBP", "a.tif": "TIFF"}


@pytest.mark.parametrize(("name", "format"), KINDS.items())
def test_good_images_of_every_kind_have_facts_and_no_findings(tmp_path, name, format):
    data = encoded(photo(), format)
    info, rules = inspect(tmp_path / name, data)
    assert rules == []
    assert (info.width, info.height, info.orientation, info.size) == (320, 240, 1, len(data))
    assert len(info.thumb) == 2 * 256


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_a_file_whose_end_is_missing_is_never_taken(tmp_path, format, share):
    whole = encoded(photo(), format)
    suffix = {"JPEG": "jpg", "TIFF": "tif"}.get(format, format.lower())
    _, rules = inspect(tmp_path / f"a.{suffix}", whole[: int(len(whole) * share)])
    assert rules in (["truncated-image"], ["unreadable-image"], ["truncated-image", "truncated-image"])


def test_damage_in_the_middle_is_seen_by_decoding_or_checksum(tmp_path):
    data = bytearray(encoded(photo(), "PNG"))
    data[len(data) // 2] ^= 0xFF
    assert inspect(tmp_path / "a.png", bytes(data)) == (None, ["unreadable-image"])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"<html>404</html>", "is no image but a web page"),
        (encoded(photo(), "GIF"), "unsupported kind"),
    ],
)
def test_what_is_no_image_is_said_so(tmp_path, data, words):
    (tmp_path / "a.jpg").write_bytes(data)
    info, [found] = images.inspect(str(tmp_path / "a.jpg"), "a.jpg", Thresholds())
    assert info is None
    assert found.rule == "unreadable-image"
    assert words in found.message


def test_an_enormous_image_is_refused_before_it_is_decoded(tmp_path):
    data = encoded(Image.new("1", (20_000, 10_000)), "PNG")
    assert inspect(tmp_path / "a.png", data) == (None, ["huge-image"])
    assert inspect(tmp_path / "a.png", encoded(photo(), "PNG"), max_megapixels=0.05) == (None, ["huge-image"])
    Image.MAX_IMAGE_PIXELS = 250_000_000
    info, rules = inspect(tmp_path / "a.png", data, max_megapixels=250)
    assert (info.width, rules) == (20_000, [])


def test_oddities_are_reported_and_the_image_is_used(tmp_path):
    rgb = photo()
    cases = {
        "wrong-suffix": ("a.jpg", encoded(rgb, "PNG")),
        "trailing-bytes": ("b.jpg", encoded(rgb, "JPEG") + b"more"),
        "alpha-channel": ("c.png", encoded(glass(), "PNG")),
        "deep-pixels": ("d.png", encoded(Image.fromarray(np.arange(90_000, dtype=np.uint16).reshape(300, 300)), "PNG")),
    }
    for rule, (name, data) in cases.items():
        info, rules = inspect(tmp_path / name, data)
        assert rules == [rule]
        assert info.thumb
    assert inspect(tmp_path / "e.png", encoded(rgb.convert("L"), "PNG"))[0].grey
    assert not inspect(tmp_path / "f.png", encoded(rgb, "PNG"))[0].grey


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_an_alpha_channel_that_hides_nothing_is_none(tmp_path, mode):
    data = encoded(photo().convert(mode), "PNG")
    assert inspect(tmp_path / "a.png", data)[1] == []
    assert inspect(tmp_path / "a.png", data, decode=False)[1] == ["alpha-channel"]  # one cannot tell
    assert inspect(tmp_path / "a.png", encoded(photo(), "PNG", transparency=(1, 2, 3)))[1] == []
    assert inspect(tmp_path / "a.png", encoded(Image.new("RGB", (9, 9)), "PNG", transparency=(0, 0, 0)))[1] == [
        "alpha-channel"
    ]


def deep_png(colours: int = 2) -> bytes:
    """A PNG of 8 x 8 pixels with 16 bits a channel, which Pillow cannot write; of colours by default."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + bytes(range(48)) for _ in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 16, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_sixteen_bits_of_colours_are_deep_and_a_float_image_without_a_number_is_unreadable(tmp_path):
    info, rules = inspect(tmp_path / "a.png", deep_png())
    assert (info.width, rules) == (8, ["deep-pixels"])
    [data, _, done] = image_bytes.reencode(deep_png(), ".png")
    assert done == "cut to 8 bits"
    assert inspect(tmp_path / "a.png", data)[1] == []
    empty = encoded(Image.fromarray(np.full((9, 9), np.nan, np.float32)), "TIFF")
    assert inspect(tmp_path / "a.tif", empty) == (None, ["unreadable-image"])


def test_what_is_no_file_is_reported_and_nothing_waits_for_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    words = {
        "pipe": "is not a regular file",
        "zero": "is not a regular file",
        "loop": "too many levels of symbolic links",
    }
    for name, said in {**words, "gone": "cannot be read: no such file or directory"}.items():
        info, [found] = images.inspect(f"{tmp_path}/{name}.jpg", f"{name}.jpg", Thresholds())
        assert (info, found.rule) == (None, "unreadable-image")
        assert said in found.message


@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_and_thumbnail_are_of_the_upright_picture(tmp_path, orientation):
    upright = photo()
    stored = upright if orientation == 1 else upright.transpose(
        {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    )  # fmt: skip
    info, _ = inspect(tmp_path / "a.jpg", encoded(stored, "JPEG", quality=95, exif=exif(orientation)))
    plain, _ = inspect(tmp_path / "b.jpg", encoded(upright, "JPEG", quality=95))
    assert (info.width, info.height) == (320, 240)
    assert near_duplicates.thumbnails_alike(info.thumb, plain.thumb, 12)


def test_without_decoding_the_header_and_the_end_are_still_checked(tmp_path):
    data = encoded(photo(), "JPEG")
    info, rules = inspect(tmp_path / "a.jpg", data, decode=False)
    assert (info.width, info.thumb, rules) == (320, None, [])
    assert inspect(tmp_path / "a.jpg", data[:-100], decode=False)[1] == ["truncated-image"]


# --- looking the same


@pytest.mark.parametrize(
    "change",
    [
        lambda image: encoded(image, "JPEG", quality=40),
        lambda image: encoded(image.resize((160, 120)), "PNG"),
        lambda image: encoded(image.resize((800, 600)), "JPEG", quality=70),
        lambda image: encoded(image, "WEBP", quality=50),
    ],
)
def test_copies_look_the_same_after_encoding_and_resizing(tmp_path, change):
    first, _ = inspect(tmp_path / "a.png", encoded(photo(), "PNG"))
    second, _ = inspect(tmp_path / "b.jpg", change(photo()))
    assert near_duplicates.thumbnails_alike(first.thumb, second.thumb, Thresholds().near_levels)


def test_other_pictures_and_moved_objects_do_not(tmp_path):
    first, _ = inspect(tmp_path / "a.png", encoded(photo(), "PNG"))
    other, _ = inspect(tmp_path / "b.png", encoded(photo(seed=1), "PNG"))
    moved = photo()
    moved.paste((255, 0, 0), (100, 100, 130, 130))
    changed, _ = inspect(tmp_path / "c.png", encoded(moved, "PNG"))
    assert not near_duplicates.thumbnails_alike(first.thumb, other.thumb, 12)
    assert not near_duplicates.thumbnails_alike(first.thumb, changed.thumb, 12)


def chessboard() -> Image.Image:
    """Sharp squares with noise, as screenshots of a board game: what a thumbnail with hard edges sees differently."""
    y, x = np.mgrid[0:416, 0:416]
    board = ((x // 52 + y // 52) % 2 * 130 + 60)[..., None] + np.random.default_rng(0).normal(0, 15, (416, 416, 3))
    board[(x % 13 == 0) | (y % 13 == 0)] = 10
    return Image.fromarray(board.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("part", [1, 2, 3])
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_a_sharp_grid_has_the_same_thumbnail_in_every_encoding_and_size(tmp_path, format, part, turned):
    first, other = tmp_path / "a.jpg", tmp_path / "b.jpg"
    thumb = inspect(first, encoded(chessboard(), "JPEG", quality=90))[0].thumb
    image = chessboard().resize((416 // part, 416 // part), Image.Resampling.LANCZOS)
    if turned:
        image = image.transpose(Image.Transpose.ROTATE_90)
    data = encoded(image, format, quality=50, exif=exif(6 if turned else 1))
    assert near_duplicates.thumbnails_alike(thumb, inspect(other, data)[0].thumb, 8)
    looks = [np.frombuffer(thumbnails.look_closer(str(path), 64), np.float16).astype(float) for path in (first, other)]
    assert np.abs(looks[0] - looks[1]).max() <= 24
