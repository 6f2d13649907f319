"""Images that are whole, cut or turned, as their encoding says it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from sightline.image_files import images
from sightline.policy import Thresholds
from sightline.validate.repair.image_bytes import reencode


def jpeg(**options: Any) -> bytes:
    noise = np.random.default_rng(3).integers(0, 255, (60, 80, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((320, 240)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def rules_of(path: Path) -> list[str]:
    thresholds = Thresholds()
    images.prepare(thresholds)
    return [item.rule for item in images.inspect(str(path), path.name, thresholds)[1]]


@pytest.mark.parametrize("options", [{}, {"restart_marker_rows": 4}, {"quality": 95}, {"progressive": True}])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_an_end_marker_does_not_hide_a_cut(tmp_path, kept, options):
    data = jpeg(**options)
    (tmp_path / "whole.jpg").write_bytes(data)
    (tmp_path / "cut.jpg").write_bytes(data[: int(kept * len(data))] + b"\xff\xd9")
    assert rules_of(tmp_path / "whole.jpg") == []
    assert rules_of(tmp_path / "cut.jpg") == ["truncated-image"]


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"restart_marker_rows": 2}])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_with_a_plain_ground_is_whole(tmp_path, level, options):
    pixels = np.random.default_rng(3).integers(0, 255, (240, 320, 3), np.uint8)
    pixels[120:] = level
    Image.fromarray(pixels).save(tmp_path / "a.jpg", **options)
    assert rules_of(tmp_path / "a.jpg") == []


@pytest.mark.parametrize("compression", ["lzma", "zstd", "tiff_lzw", None])
def test_a_tiff_that_the_engine_cannot_read_is_refused_and_saved(tmp_path, compression):
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(tmp_path / "a.tif", compression=compression)
    readable = cv2.imread(str(tmp_path / "a.tif")) is not None  # which the engine reads by
    assert rules_of(tmp_path / "a.tif") == ([] if readable else ["unreadable-image"])
    assert (reencode((tmp_path / "a.tif").read_bytes(), ".tif") is None) == readable


def test_what_xmp_says_of_a_picture_turns_nothing(tmp_path):
    words = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    exif = Image.Exif()
    exif[0x010E] = "a picture"
    Image.new("RGB", (80, 60)).save(tmp_path / "a.jpg", exif=exif, xmp=words.encode())
    note = PngImagePlugin.PngInfo()
    note.add_itxt("XML:com.adobe.xmp", words)
    Image.new("RGB", (80, 60)).save(tmp_path / "a.png", pnginfo=note)
    for name in ("a.jpg", "a.png"):
        with Image.open(tmp_path / name) as image:
            assert image.getexif().get(0x0112) == 6  # what a reader makes of it that believes XMP
        info, _ = images.inspect(str(tmp_path / name), name, Thresholds())
        assert info is not None
        assert (info.width, info.height, info.orientation) == (80, 60, 1)
