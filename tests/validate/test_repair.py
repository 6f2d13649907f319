"""What can be saved of a file is saved, without loss where that is possible; what cannot be is never passed as good."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sightline.validate.repair.image_bytes import reencode

END = b"\xff\xd9"
WIDTH, HEIGHT = 83, 61  # no multiple of a JPEG block
STREAMS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "full colour": {"subsampling": 0},
    "wide": {"subsampling": 1},
    "optimised": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts in rows": {"restart_marker_rows": 1},
    "restarts in blocks": {"restart_marker_blocks": 3},
    "coarse": {"quality": 5},
    "fine": {"quality": 100},
}


def scene(mode: str = "RGB", size: tuple[int, int] = (WIDTH, HEIGHT), flat: bool = False) -> Image.Image:
    """A smooth picture with some noise, a bright corner at the top left and nothing grey at the bottom."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    pixels = np.stack([x * 2 % 256, y * 3 % 256, (x + y) % 256], axis=-1).astype(np.float64)
    pixels += np.random.default_rng(0).normal(0, 8, pixels.shape)
    pixels[:10, :10] = 255
    pixels[-9:] = (10, 200, 30)
    if flat:
        pixels[:] = 128  # what a decoder fills missing rows with
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert(mode)


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decode(data: bytes) -> np.ndarray[Any, Any]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image).astype(int)


def saved(data: bytes, suffix: str = ".jpg") -> tuple[bytes, str, str]:
    result = reencode(data, suffix)
    assert result is not None
    assert reencode(*result[:2]) is None, "what was repaired needs no further repair"
    return result


def exif(orientation: int) -> Image.Exif:
    result = Image.Exif()
    result[0x0112] = orientation
    return result


class TestNothingToDo:
    @pytest.mark.parametrize("stream", STREAMS)
    def test_a_good_jpeg_is_left_alone(self, stream: str) -> None:
        assert reencode(encode(scene(), **STREAMS[stream]), ".JPEG") is None

    @pytest.mark.parametrize(
        ("kind", "suffix", "mode"),
        [
            *(("PNG", ".png", "RGB"), ("PNG", ".png", "L"), ("PNG", ".png", "P"), ("PNG", ".png", "1")),
            *(("BMP", ".bmp", "RGB"), ("WEBP", ".webp", "RGB"), ("TIFF", ".tif", "RGB"), ("TIFF", ".tiff", "L")),
        ],
    )
    def test_other_good_files_are_left_alone(self, kind: str, suffix: str, mode: str) -> None:
        assert reencode(encode(scene(mode), kind), suffix) is None

    @pytest.mark.parametrize(
        ("kind", "suffix", "mode"),
        [("PNG", ".png", "RGBA"), ("PNG", ".png", "LA"), ("WEBP", ".webp", "RGBA"), ("TIFF", ".tif", "RGBA")],
    )
    def test_an_alpha_channel_that_hides_nothing_is_left_alone(self, kind: str, suffix: str, mode: str) -> None:
        assert reencode(encode(scene(mode), kind), suffix) is None

    def test_an_upright_orientation_is_nothing(self) -> None:
        assert reencode(encode(scene(), exif=exif(1)), ".jpg") is None


class TestEndOfJpeg:
    @pytest.mark.parametrize("stream", STREAMS)
    def test_bytes_behind_the_end_are_cut_without_loss(self, stream: str) -> None:
        good = encode(scene(), **STREAMS[stream])
        assert saved(good + b"<html>not found</html>") == (good, ".jpg", "cut 22 bytes after its end")
        assert saved(good + bytes(1000))[0] == good

    @pytest.mark.parametrize("stream", STREAMS)
    @pytest.mark.parametrize("tail", [b"", b"\xff", bytes(4096)], ids=["", "half a marker", "zeros"])
    def test_a_missing_end_marker_alone_is_added_without_loss(self, stream: str, tail: bytes) -> None:
        good = encode(scene(), **STREAMS[stream])
        if len(tail) > 1 and good.endswith(b"\x00" + END):  # its own zero looks like the others
            with pytest.raises(ValueError, match="ends too early"):
                reencode(good.removesuffix(END) + tail, ".jpg")
            return
        assert saved(good.removesuffix(END) + tail) == (good, ".jpg", "added the missing end marker")

    @pytest.mark.parametrize("stream", STREAMS)
    @pytest.mark.parametrize("tail", [b"", bytes(4096), END + b"trailing"], ids=["", "zeros", "an end of its own"])
    def test_a_jpeg_with_missing_rows_is_never_passed_as_whole(self, stream: str, tail: bytes) -> None:
        good = encode(scene(), **STREAMS[stream]).removesuffix(END)
        header = good.index(b"\xff\xda") + 14
        cuts = {header + (len(good) - header) * part // 40 for part in range(1, 40)} | set(
            range(len(good) - 40, len(good) - 2)
        )
        passed = []
        for cut in sorted(cuts):
            try:
                result = reencode(good[:cut] + tail, ".jpg")
            except ValueError:
                continue
            assert result is not None
            if np.abs(decode(result[0]) - decode(good + END)).max() > 0:
                passed.append(cut)
        assert passed == []

    @pytest.mark.parametrize("stream", ["baseline", "progressive", "restarts in rows", "restarts in blocks"])
    def test_missing_rows_are_reported_from_a_picture_that_is_grey_itself(self, stream: str) -> None:
        good = encode(scene(flat=True), **STREAMS[stream]).removesuffix(END)
        assert saved(good)[0] == good + END
        for lost in range(4, 30, 3):
            with pytest.raises(ValueError, match=r"\w"):
                reencode(good[:-lost], ".jpg")

    def test_a_progressive_jpeg_without_its_last_scans_is_refused_although_it_shows_every_row(self) -> None:
        good = encode(scene(), progressive=True)
        starts = [place for place in range(len(good)) if good[place : place + 2] == b"\xff\xda"]
        cut = good[: good.rindex(b"\xff\xc4", 0, starts[-1])]  # before the tables of the last scan
        assert decode(cut + END).shape == (HEIGHT, WIDTH, 3)
        with pytest.raises(ValueError, match="ends too early"):
            reencode(cut, ".jpg")
        with pytest.raises(ValueError, match="comes before the end of its picture"):
            reencode(cut + END + b"trailing", ".jpg")

    def test_an_end_marker_inside_a_thumbnail_is_not_the_end(self) -> None:
        thumbnail = encode(scene(size=(16, 16)))
        good = encode(scene(), exif=b"Exif\0\0" + b"MM\0*\0\0\0\x08\0\0\0\0\0\0" + thumbnail)
        assert thumbnail in good
        assert saved(good + b"abc")[0] == good
        assert saved(good.removesuffix(END))[0] == good

    def test_further_pictures_of_a_phone_are_no_trailing_bytes(self) -> None:
        good = encode(scene(), "MPO", save_all=True, append_images=[scene(size=(20, 20))])
        assert good.count(b"\xff\xd8\xff") == 2
        assert reencode(good, ".jpg") is None
        assert saved(good + b"trailer")[0] == good


class TestPixels:
    @pytest.mark.parametrize("orientation", range(2, 9))
    @pytest.mark.parametrize(
        ("kind", "suffix"), [("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp"), ("TIFF", ".tif")]
    )
    def test_a_turned_picture_is_made_upright(self, orientation: int, kind: str, suffix: str) -> None:
        upright = scene()
        back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # Pillow's numbers of the inverse turns
        stored = upright.transpose(Image.Transpose(back))
        options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
        data, named, done = saved(encode(stored, kind, exif=exif(orientation), **options), suffix)
        assert (named, done) == (suffix, f"made upright (EXIF orientation {orientation})")
        with Image.open(io.BytesIO(data)) as image:
            assert (image.format, image.size) == (kind, (WIDTH, HEIGHT))
            assert image.getexif().get(0x0112) is None
        difference = np.abs(decode(data) - np.asarray(upright).astype(int))
        assert difference.mean() < (4 if kind == "JPEG" else 1e-9)  # a wrong turn gives 50

    @pytest.mark.parametrize(("stored", "orientation", "expected"), [(0, 6, 0), (1, 3, 1), (1, 6, 0), (2, 6, 2)])
    def test_colour_subsampling_is_kept_where_a_turn_allows_it(
        self, stored: int, orientation: int, expected: int
    ) -> None:
        data = saved(encode(scene(), subsampling=stored, exif=exif(orientation)))[0]
        with Image.open(io.BytesIO(data)) as image:
            from PIL.JpegImagePlugin import get_sampling

            assert get_sampling(image) == expected

    @pytest.mark.parametrize(("kind", "suffix"), [("PNG", ".png"), ("WEBP", ".webp"), ("TIFF", ".tif")])
    def test_transparency_is_laid_on_white(self, kind: str, suffix: str) -> None:
        image = Image.new("RGBA", (4, 1))
        image.putdata([(255, 0, 0, 255), (255, 0, 0, 0), (0, 0, 0, 128), (9, 9, 9, 255)])
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        data, _, done = saved(encode(image, kind, **options), suffix)
        assert done == "transparency laid on white"
        assert decode(data).tolist() == [[[255, 0, 0], [255, 255, 255], [127, 127, 127], [9, 9, 9]]]

    def test_transparency_of_grey_and_of_palettes_is_laid_on_white(self) -> None:
        grey = Image.new("LA", (2, 1))
        grey.putdata([(100, 255), (100, 0)])
        assert decode(saved(encode(grey, "PNG"), ".png")[0]).tolist() == [[100, 255]]
        palette = Image.new("P", (2, 1))
        palette.putpalette([10, 20, 30, 40, 50, 60])
        palette.putdata([0, 1])
        data = saved(encode(palette, "PNG", transparency=1), ".png")[0]
        assert decode(data).tolist() == [[[10, 20, 30], [255, 255, 255]]]

    @pytest.mark.parametrize(("kind", "suffix"), [("PNG", ".png"), ("TIFF", ".tif")])
    def test_sixteen_bits_are_scaled_by_their_own_darkest_and_brightest(self, kind: str, suffix: str) -> None:
        twelve = np.array([[1000, 2000], [3000, 4060]], np.uint16)  # a plain cut to the upper bits gives 3 to 15
        data, _, done = saved(encode(Image.fromarray(twelve), kind), suffix)
        assert done == "scaled to 8 bits"
        assert decode(data).tolist() == [[0, 83], [167, 255]]

    def test_floats_are_scaled_and_what_is_no_number_is_dark(self) -> None:
        values = np.array([[-1.0, 0.0], [1.0, np.nan]], np.float32)
        assert decode(saved(encode(Image.fromarray(values), "TIFF"), ".tif")[0]).tolist() == [[0, 128], [255, 0]]
        with pytest.raises(ValueError, match="holds no numbers"):
            reencode(encode(Image.fromarray(np.full((2, 2), np.nan, np.float32)), "TIFF"), ".tif")

    def test_one_value_everywhere_is_no_error(self) -> None:
        assert decode(saved(encode(Image.fromarray(np.full((2, 2), 700, np.uint16)), "PNG"), ".png")[0]).max() == 0

    @pytest.mark.parametrize(("kind", "suffix"), [("JPEG", ".jpg"), ("TIFF", ".tif")])
    def test_cmyk_becomes_rgb(self, kind: str, suffix: str) -> None:
        data, _, done = saved(encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), kind), suffix)
        assert done == "CMYK made RGB"
        assert np.abs(decode(data)[8, 8] - (255, 0, 0)).max() <= 3

    def test_a_colour_profile_stays_with_its_colours(self) -> None:
        profile = b"a profile"
        data = saved(encode(scene(), icc_profile=profile, exif=exif(3)))[0]
        assert Image.open(io.BytesIO(data)).info["icc_profile"] == profile
        data = saved(encode(scene("CMYK"), icc_profile=profile))[0]
        assert "icc_profile" not in Image.open(io.BytesIO(data)).info


class TestNames:
    def test_a_file_gets_the_suffix_of_what_it_is_and_keeps_its_bytes(self) -> None:
        data = encode(scene(), "PNG")
        assert saved(data, ".jpg") == (data, ".png", "named .png, which it is")
        assert saved(data, "")[1] == ".png"

    def test_several_things_are_mended_at_once(self) -> None:
        data, suffix, done = saved(encode(scene(), exif=exif(8)) + b"!", ".png")
        assert (suffix, data[-2:]) == (".jpg", END)
        assert done == "cut 1 bytes after its end; named .jpg, which it is; made upright (EXIF orientation 8)"


class TestLost:
    @pytest.mark.parametrize("data", [b"", b"GIF89a", b"<html>", encode(scene(), "GIF")])
    def test_what_is_no_image_of_ours_cannot_be_saved(self, data: bytes) -> None:
        with pytest.raises(ValueError, match="is none of JPEG, PNG, BMP, WEBP, TIFF"):
            reencode(data, ".jpg")

    @pytest.mark.parametrize(
        ("kind", "suffix"), [("PNG", ".png"), ("BMP", ".bmp"), ("WEBP", ".webp"), ("TIFF", ".tif"), ("JPEG", ".jpg")]
    )
    def test_half_a_file_cannot_be_saved(self, kind: str, suffix: str) -> None:
        data = encode(scene(), kind)
        with pytest.raises(ValueError, match=r"\w"):
            reencode(data[: len(data) // 2], suffix)

    def test_a_decompression_bomb_is_not_decoded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        data = encode(scene("RGBA"), "PNG")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        with pytest.raises(ValueError, match="exceeds limit"):
            reencode(data, ".png")
