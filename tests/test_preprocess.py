"""What the network is shown of an image: the pixels of training, and boxes that find back into the image."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sightline.errors import DataError
from sightline.preprocess import preprocess, read_image, unletterbox


@pytest.mark.parametrize(("height", "width"), [(480, 640), (640, 480), (33, 500), (160, 160), (1, 3000)])
def test_letterbox_maps_back_to_original_pixels(height: int, width: int) -> None:
    size = 160
    image = np.zeros((height, width, 3), np.uint8)
    image[:] = (10, 20, 30)
    planes = preprocess(image, size)
    assert planes.shape == (3, size, size)
    inside = np.argwhere(np.abs(planes[0] - 30 / 255) < 1e-6)
    (top, left), (bottom, right) = inside.min(axis=0), inside.max(axis=0) + 1
    box = np.array([[left, top, right, bottom]], np.float32)
    assert unletterbox(box, size, height, width)[0] == pytest.approx(
        [0, 0, width, height], abs=max(height, width) / size
    )
    assert np.unique(planes[0][:top]).tolist() in ([], [pytest.approx(114 / 255)])


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 20))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (40, 20, 3)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("nowhere.jpg", "No such file"),
        ("text.jpg", "is not an image"),
        ("empty.jpg", "is not an image"),
        (np.zeros((4, 4, 4), np.uint8), "expected \\(h, w, 3\\) uint8 BGR"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (".", "is a folder"),
        ("pipe.jpg", "not a regular file"),
        ("float.tif", "type float32, expected 8 or 16 bits"),
        ("bomb.png", "is not an image that OpenCV can read"),
    ],
)
def test_bad_images_are_named(image: str | np.ndarray, words: str, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "empty.jpg").touch()
    os.mkfifo(tmp_path / "pipe.jpg")
    cv2.imwrite(str(tmp_path / "float.tif"), np.zeros((4, 4, 3), np.float32))
    png = cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes()
    header = b"IHDR" + (200_000).to_bytes(4) * 2 + png[24:29]
    (tmp_path / "bomb.png").write_bytes(png[:12] + header + zlib.crc32(header).to_bytes(4) + png[33:])
    with pytest.raises(DataError, match=words):
        read_image(tmp_path / image if isinstance(image, str) else image)


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_read_as_in_training(tmp_path: Path, kind: str, channels: int) -> None:
    """The engine keeps the high byte: of every format, where OpenCV's own scaling rounds some."""
    deep = np.random.default_rng(0).integers(0, 2**16, (20, 30, channels), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / f"deep.{kind}"), deep)
    assert np.array_equal(read_image(tmp_path / f"deep.{kind}"), np.broadcast_to(deep >> 8, (20, 30, 3)))
