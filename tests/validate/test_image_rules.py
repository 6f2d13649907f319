"""The rules about one image file: real files, each damaged or odd in one way."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.policy import Thresholds
from sightline.validate import near, pictures


@pytest.fixture(autouse=True)
def _prepared():
    before = Image.MAX_IMAGE_PIXELS
    pictures.prepare(Thresholds())
    yield
    Image.MAX_IMAGE_PIXELS = before


def photo(size: tuple[int, int] = (320, 240), seed: int = 0) -> Image.Image:
    """A smooth picture with edges, as cameras make them: noise alone survives no encoding."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def inspect(path: Path, data: bytes, **thresholds):
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as the scan does
        facts, found = pictures.inspect(str(path), path.name, Thresholds(**thresholds))
    return facts, [item.rule for item in found]


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


KINDS = {"a.jpg": "JPEG", "a.JPEG": "JPEG", "a.png": "PNG", "a.bmp": "BMP", "a.webp": "WEBP", "a.tif": "TIFF"}


@pytest.mark.parametrize(("name", "format"), KINDS.items())
def test_good_images_of_every_kind_have_facts_and_no_findings(tmp_path, name, format):
    data = encoded(photo(), format)
    facts, rules = inspect(tmp_path / name, data)
    assert rules == []
    assert (facts.width, facts.height, facts.orientation, facts.size) == (320, 240, 1, len(data))
    assert len(facts.thumb) == 256


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
    [(b"", "is empty"), (b"<html>404</html>", "is no image"), (encoded(photo(), "GIF"), "unsupported kind")],
)
def test_what_is_no_image_is_said_so(tmp_path, data, words):
    (tmp_path / "a.jpg").write_bytes(data)
    facts, [found] = pictures.inspect(str(tmp_path / "a.jpg"), "a.jpg", Thresholds())
    assert facts is None
    assert found.rule == "unreadable-image"
    assert words in found.message


def test_an_enormous_image_is_refused_before_it_is_decoded(tmp_path):
    data = encoded(Image.new("1", (20_000, 10_000)), "PNG")
    assert inspect(tmp_path / "a.png", data) == (None, ["huge-image"])
    assert inspect(tmp_path / "a.png", encoded(photo(), "PNG"), max_megapixels=0.05) == (None, ["huge-image"])
    Image.MAX_IMAGE_PIXELS = 250_000_000
    facts, rules = inspect(tmp_path / "a.png", data, max_megapixels=250)
    assert (facts.width, rules) == (20_000, [])


def test_oddities_are_told_and_the_image_is_used(tmp_path):
    rgb = photo()
    cases = {
        "wrong-suffix": ("a.jpg", encoded(rgb, "PNG")),
        "trailing-bytes": ("b.jpg", encoded(rgb, "JPEG") + b"more"),
        "alpha-channel": ("c.png", encoded(rgb.convert("RGBA"), "PNG")),
        "deep-pixels": ("d.png", encoded(Image.fromarray(np.arange(90_000, dtype=np.uint16).reshape(300, 300)), "PNG")),
    }
    for rule, (name, data) in cases.items():
        facts, rules = inspect(tmp_path / name, data)
        assert rules == [rule]
        assert facts.thumb
    assert inspect(tmp_path / "e.png", encoded(rgb.convert("L"), "PNG"))[0].grey
    assert not inspect(tmp_path / "f.png", encoded(rgb, "PNG"))[0].grey


@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_and_thumbnail_are_of_the_upright_picture(tmp_path, orientation):
    upright = photo()
    stored = upright if orientation == 1 else upright.transpose(
        {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    )  # fmt: skip
    facts, _ = inspect(tmp_path / "a.jpg", encoded(stored, "JPEG", quality=95, exif=exif(orientation)))
    plain, _ = inspect(tmp_path / "b.jpg", encoded(upright, "JPEG", quality=95))
    assert (facts.width, facts.height) == (320, 240)
    assert near.alike(facts.thumb, plain.thumb, 12)


def test_without_decoding_the_header_and_the_end_are_still_checked(tmp_path):
    data = encoded(photo(), "JPEG")
    facts, rules = inspect(tmp_path / "a.jpg", data, decode=False)
    assert (facts.width, facts.thumb, rules) == (320, None, [])
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
    assert near.alike(first.thumb, second.thumb, Thresholds().near_levels)


def test_other_pictures_and_moved_objects_do_not(tmp_path):
    first, _ = inspect(tmp_path / "a.png", encoded(photo(), "PNG"))
    other, _ = inspect(tmp_path / "b.png", encoded(photo(seed=1), "PNG"))
    moved = photo()
    moved.paste((255, 0, 0), (100, 100, 130, 130))
    changed, _ = inspect(tmp_path / "c.png", encoded(moved, "PNG"))
    assert not near.alike(first.thumb, other.thumb, 12)
    assert not near.alike(first.thumb, changed.thumb, 12)
