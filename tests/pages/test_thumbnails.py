"""Thumbnails: what was found is seen, in every kind of image, and what cannot be shown says why."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.pages.data_page import Outline, Picture, render
from sightline.pages.thumbnails import HEIGHT, MOST_BYTES, STRONG, WIDTH, thumbnail
from tests.helpers.data_report import BOX, document, draw, finding
from tests.helpers.page import Page


def opened(uri: str | None) -> np.ndarray:
    assert uri is not None
    data = base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def near(pixels: np.ndarray, colour: tuple[int, int, int], tolerance: int = 60) -> np.ndarray:
    """Where a picture has about this colour."""
    return np.abs(pixels - np.array(colour)).max(axis=2) < tolerance


def test_a_box_is_framed_where_it_lies_and_others_stay_muted(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png", (576, 432))
    result = thumbnail(Picture(str(path), [Outline("red", BOX), Outline("white", (0.05, 0.05, 0.15, 0.15))]), BOX)
    pixels = opened(result.uri)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert (result.name, result.note) == ("red", "")
    rows, columns = np.nonzero(near(pixels, STRONG))
    assert (columns.min(), columns.max()) == pytest.approx((WIDTH / 4, 3 * WIDTH / 4), abs=4)
    assert rows.max() == pytest.approx(3 * HEIGHT / 4, abs=4)
    assert rows.min() == pytest.approx(HEIGHT / 4 - 18, abs=4)  # the tag with the class sits on the box
    assert not near(pixels, STRONG)[5:35, 10:45].any()
    assert np.ptp(pixels[5:40, 10:50]) > 60  # the muted box


def test_a_small_box_is_shown_close_up(tmp_path: Path) -> None:
    image = Image.new("RGB", (2000, 1500), (120, 130, 140))
    image.paste((20, 200, 20), (1500, 300, 1510, 310))
    image.save(tmp_path / "a.png")
    box = (0.75, 0.2, 0.755, 310 / 1500)
    result = thumbnail(Picture(str(tmp_path / "a.png"), [Outline("cell", box)]), box)
    assert result.note == "zoomed"
    green = near(opened(result.uri), (20, 200, 20), 90)
    rows, columns = np.nonzero(green)
    assert green.sum() > 700  # of the 10 x 10 pixels, of which the whole picture would show two
    assert (rows.mean(), columns.mean()) == pytest.approx((HEIGHT / 2, WIDTH / 2), abs=3)
    whole = thumbnail(Picture(str(tmp_path / "a.png")), None)
    assert whole.note == ""
    assert near(opened(whole.uri), (20, 200, 20), 90).sum() < 10


@pytest.mark.parametrize("corner", [(0.0, 0.0), (0.98, 0.0), (0.0, 0.98), (0.98, 0.98)])
def test_a_small_box_in_a_corner_is_shown_without_leaving_the_image(
    tmp_path: Path, corner: tuple[float, float]
) -> None:
    path = draw(tmp_path / "a.jpg", (1000, 800))
    x, y = corner
    result = thumbnail(Picture(str(path)), (x, y, x + 0.02, y + 0.02))
    pixels = opened(result.uri)
    assert (pixels.shape, result.note) == ((HEIGHT, WIDTH, 3), "zoomed")
    assert near(pixels, STRONG).sum() > 50
    assert near(pixels, (120, 130, 140), 20).mean() > 0.8


def test_a_box_without_width_is_still_seen(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.jpg", (1000, 800))
    result = thumbnail(Picture(str(path)), (0.5, 0.5, 0.5, 0.5))
    assert near(opened(result.uri), STRONG).sum() > 10


def test_a_box_outside_is_shown_beside_the_image(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.jpg", (400, 300))
    pixels = opened(thumbnail(Picture(str(path)), (1.1, 0.2, 1.4, 0.8)).uri)
    columns = np.nonzero(near(pixels, STRONG))[1]
    assert columns.min() / pixels.shape[1] == pytest.approx(1.1 / 1.4, abs=0.03)
    far = thumbnail(Picture(str(path)), (200.0, 100.0, 240.0, 150.0))
    assert far.note == "the box is far outside"
    assert opened(far.uri).shape == (HEIGHT, WIDTH, 3)


def test_a_turned_photograph_is_shown_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (400, 300), (120, 130, 140))
    image.paste((20, 20, 200), (0, 0, 400, 60))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned: the stored top is the upright right side
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    box = (0.8, 0.0, 1.0, 1.0)
    result = thumbnail(Picture(str(tmp_path / "a.jpg"), [Outline("sky", box)]), box)
    pixels = opened(result.uri)
    assert pixels.shape[0] > pixels.shape[1]
    blue = near(pixels, (20, 20, 200))
    assert blue[:, int(0.9 * blue.shape[1])].mean() > 0.8
    assert not blue[:, : int(0.7 * blue.shape[1])].any()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_kind_of_pixel_can_be_shown(tmp_path: Path, mode: str) -> None:
    ramp = np.tile(np.linspace(0, 60_000 if mode in ("I;16", "I", "F") else 255, 200), (100, 1))
    image = Image.fromarray(ramp.astype(np.uint16 if mode == "I;16" else np.int32 if mode == "I" else np.float32))
    image = (
        image if mode in ("I;16", "I", "F") else image.convert("L").convert("RGB" if mode == "P" else "L").convert(mode)
    )
    image.save(tmp_path / "a.tif")
    pixels = opened(thumbnail(Picture(str(tmp_path / "a.tif"))).uri)
    assert pixels[:, -20:].mean() - pixels[:, :20].mean() > 150


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "folder", "gone"])
def test_what_cannot_be_shown_is_a_placeholder_that_says_so(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.jpg"
    if damage == "folder":
        path.mkdir()
    elif damage != "gone":
        noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes({"empty": b"", "text": b"no image", "cut": path.read_bytes()[:5000]}[damage])
    words = "the image is not there" if damage == "gone" else "the image cannot be decoded"
    assert thumbnail(Picture(str(path)), BOX).problem == words
    page = Page(render(document(finding("unreadable-image", 1)), lambda _: Picture(str(path))))
    assert words in page.text
    assert not page.values("img", "src")


def test_bombs_are_not_decoded(tmp_path: Path) -> None:
    Image.new("1", (9_000, 9_000)).save(tmp_path / "large.png")
    assert thumbnail(Picture(str(tmp_path / "large.png"))).problem == "81 million pixels: too large to be shown"
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    assert thumbnail(Picture(str(tmp_path / "bomb.png"))).problem == "too large to be shown"


def test_a_large_photograph_is_decoded_small(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.jpg", (9_000, 6_000))
    assert opened(thumbnail(Picture(str(path))).uri).shape == (WIDTH * 2 // 3, WIDTH, 3)


def test_a_thumbnail_of_noise_is_pressed_to_the_limit(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (216, 288, 3), np.uint8)).save(tmp_path / "a.png")
    uri = thumbnail(Picture(str(tmp_path / "a.png"))).uri
    assert uri is not None
    assert len(uri) < 1.4 * MOST_BYTES


def test_real_images_are_drawn_with_their_labels(shared: Path) -> None:
    path = shared / "data/bccd/BCCD/JPEGImages/BloodImage_00000.jpg"
    box = (0.4, 0.4, 0.6, 0.6)
    result = thumbnail(Picture(str(path), [Outline("WBC", box)]), box)
    assert result.name == "WBC"
    assert near(opened(result.uri), STRONG).sum() > 300
