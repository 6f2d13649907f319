"""Small pictures of what a rule found: upright, the box in question in a strong colour, close up where it is small."""

from __future__ import annotations

import base64
import io
import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sightline.datasets.types import Edges
from sightline.image_files.decoding import DEEP, TURNS, UNDECODABLE, exif_orientation
from sightline.image_files.signatures import FORMATS

WIDTH, HEIGHT = 288, 216  # pixels that a thumbnail fits into
SMALL = 0.06  # a box whose longer side is less of the image's is shown close up
CONTEXT = 5  # what is shown around such a box, in its own sides
CLOSEST = 64  # pixels of the image that are shown at least
BEYOND = 0.5  # of the image's side: how far around the image a box outside of it is shown
MOST_PIXELS = 40_000_000  # that are decoded for a thumbnail; more take seconds each
MOST_BYTES = 16_000  # of a thumbnail; noisy ones are compressed harder, so that the page stays small
MOST_BOXES = 300  # that are drawn
SAME = 0.01  # edges of the flagged box and of a labelled one that differ by less are the same box

STRONG, MUTED, SHADE, GROUND = (255, 38, 92), (255, 255, 255, 190), (16, 18, 20, 150), (58, 62, 66)
TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height


class Outline(NamedTuple):
    """A labelled box: its class, and its edges as fractions of the upright image."""

    name: str
    edges: Edges


class Picture(NamedTuple):
    """Where an image lies on the disk, and every box in it."""

    path: str
    boxes: Sequence[Outline] = ()


class Thumbnail(NamedTuple):
    """A data: URI, or why there is none; the class of the flagged box, if it is known; a note such as `zoomed`."""

    uri: str | None
    problem: str = ""
    name: str = ""
    note: str = ""


class Window(NamedTuple):
    """The part of an image that is shown, in pixels of the upright image; it may reach beyond the image."""

    x0: float
    y0: float
    x1: float
    y1: float
    note: str = ""

    @property
    def scale(self) -> float:
        """Pixels of the thumbnail for one of the image."""
        return min(WIDTH / (self.x1 - self.x0), HEIGHT / (self.y1 - self.y0))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the thumbnail."""
        width, height = (self.x1 - self.x0) * self.scale, (self.y1 - self.y0) * self.scale
        return max(1, round(width)), max(1, round(height))

    def place(self, edges: Edges, width: int, height: int) -> Edges:
        """Turn fractions of the image into pixels of the thumbnail."""
        x0, y0, x1, y1 = edges
        return (
            (x0 * width - self.x0) * self.scale,
            (y0 * height - self.y0) * self.scale,
            (x1 * width - self.x0) * self.scale,
            (y1 * height - self.y0) * self.scale,
        )


def thumbnail(picture: Picture, flagged: Edges | None = None) -> Thumbnail:
    """Draw an image with its boxes; files that cannot be drawn give a sentence instead, never an error.

    The image's size is looked at before anything is decoded, and a large JPEG is decoded at the size that is needed.
    """
    index = _find(picture.boxes, flagged) if flagged else None
    name = picture.boxes[index].name if index is not None else ""
    others = [outline.edges for number, outline in enumerate(picture.boxes) if number != index]
    try:
        # Odd EXIF, palettes, sizes: what matters is what can be shown.
        with warnings.catch_warnings(action="ignore"), Image.open(picture.path, formats=FORMATS) as image:
            orientation = exif_orientation(image)
            width, height = image.size[::-1] if orientation in TURNED else image.size
            window = _window(width, height, flagged)
            if not _draft(image, window.scale):
                return Thumbnail(None, f"{round(width * height / 1e6):,} million pixels: too large to be shown", name)
            canvas = _cut(_upright(image, orientation), window, width, height)
    except Image.DecompressionBombError:
        return Thumbnail(None, "too large to be shown", name)
    except FileNotFoundError:
        return Thumbnail(None, "the image is not there", name)
    except UNDECODABLE:
        return Thumbnail(None, "the image cannot be decoded", name)
    _mark(canvas, [window.place(edges, width, height) for edges in others[:MOST_BOXES]])
    if flagged:
        _flag(canvas, window.place(flagged, width, height), name)
    return Thumbnail(_encode(canvas), "", name, window.note)


def _find(boxes: Sequence[Outline], flagged: Edges) -> int | None:
    """Return the labelled box that the flagged one is; a labelled one may have been clipped to the image."""
    inside = [min(max(edge, 0.0), 1.0) for edge in flagged]
    distances = [max(abs(a - b) for a, b in zip(outline.edges, inside, strict=True)) for outline in boxes]
    nearest = min(range(len(boxes)), key=distances.__getitem__, default=None)
    return nearest if nearest is not None and distances[nearest] < SAME else None


def _window(width: int, height: int, flagged: Edges | None) -> Window:
    """Choose what to show: the image, and around it where the box leaves it; or what lies around a small box."""
    if not flagged:
        return Window(0, 0, width, height)
    x0, y0, x1, y1 = flagged
    if max(x0, y0) > 1 + BEYOND or min(x1, y1) < -BEYOND:
        return Window(0, 0, width, height, "the box is far outside")
    left, right = width * max(min(0.0, x0), -BEYOND), width * min(max(1.0, x1), 1 + BEYOND)
    top, bottom = height * max(min(0.0, y0), -BEYOND), height * min(max(1.0, y1), 1 + BEYOND)
    apart = min(x1, y1) < 0 or max(x0, y0) > 1
    if apart or max(x1 - x0, y1 - y0) >= SMALL:
        return Window(left, top, right, bottom)
    side = max(CONTEXT * (x1 - x0) * width, CONTEXT * (y1 - y0) * height, CLOSEST)
    w, h = min(right - left, side * WIDTH / HEIGHT), min(bottom - top, side)
    x = min(max(left, (x0 + x1) / 2 * width - w / 2), right - w)
    y = min(max(top, (y0 + y1) / 2 * height - h / 2), bottom - h)
    return Window(x, y, x + w, y + h, "zoomed" if w < right - left or h < bottom - top else "")


def _draft(image: Image.Image, scale: float) -> bool:
    """Ask a JPEG decoder for no more pixels than needed; returns whether the rest is small enough to decode."""
    if scale < 1:
        image.draft("RGB", (math.ceil(image.width * scale), math.ceil(image.height * scale)))
    return image.width * image.height <= MOST_PIXELS


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    """Decode, in eight bits a channel; deeper pixels are spread from the darkest to the lightest."""
    image.load()
    if orientation in TURNS and image.format != "TIFF":  # Pillow turns a TIFF by itself
        image = image.transpose(TURNS[orientation])
    if image.mode in DEEP:
        pixels = np.asarray(image, np.float32)
        spread = float(np.ptp(pixels)) or 1.0
        image = Image.fromarray(((pixels - pixels.min()) * (255 / spread)).astype(np.uint8))
    return image.convert("RGB")


def _cut(image: Image.Image, window: Window, width: int, height: int) -> Image.Image:
    """Scale the window to the thumbnail's size; what lies around the image is grey."""
    canvas = Image.new("RGB", window.size, GROUND)
    inside = max(0.0, window.x0), max(0.0, window.y0), min(float(width), window.x1), min(float(height), window.y1)
    x, y = (inside[0] - window.x0) * window.scale, (inside[1] - window.y0) * window.scale
    size = (
        min(canvas.width, max(1, round((inside[2] - inside[0]) * window.scale))),
        min(canvas.height, max(1, round((inside[3] - inside[1]) * window.scale))),
    )
    across, down = image.width / width, image.height / height  # the decoder may have scaled it already
    part = (inside[0] * across, inside[1] * down, inside[2] * across, inside[3] * down)
    canvas.paste(image.resize(size, Image.Resampling.LANCZOS, box=part, reducing_gap=2.0), (round(x), round(y)))
    return canvas


def _mark(canvas: Image.Image, boxes: Sequence[Edges]) -> None:
    """Draw boxes thinly, in light and shade, so that they are seen on any picture and hide little of it."""
    draw = ImageDraw.Draw(canvas, "RGBA")
    for box in boxes:
        x0, y0, x1, y1 = _inside(box, canvas)
        if x1 - x0 > 2 and y1 - y0 > 2:
            draw.rectangle((x0 + 1, y0 + 1, x1 - 1, y1 - 1), outline=SHADE)
        draw.rectangle((x0, y0, x1, y1), outline=MUTED)


def _flag(canvas: Image.Image, box: Edges, name: str) -> None:
    """Draw the box in question around its object, and its class on a tag that stays inside the picture."""
    draw = ImageDraw.Draw(canvas, "RGBA")
    x0, y0, x1, y1 = _inside((box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2), canvas)
    draw.rectangle((x0, y0, x1, y1), outline=STRONG, width=2)
    text = name if len(name) <= 24 else f"{name[:23]}…"
    if not text or not text.replace("…", "").isascii():  # the font has no other letters; the caption shows the name
        return
    font = ImageFont.load_default(12)
    width = math.ceil(font.getlength(text)) + 8
    left = max(0, min(x0, canvas.width - width))
    top = y0 - 17 if y0 >= 17 else min(y1 + 1, canvas.height - 17)
    draw.rectangle((left, top, left + width, top + 16), fill=STRONG)
    draw.text((left + 4, top + 1), text, fill=(255, 255, 255), font=font)


def _inside(box: Edges, canvas: Image.Image) -> tuple[int, int, int, int]:
    """Round to pixels of the picture."""
    right, bottom = canvas.width - 1, canvas.height - 1
    x0, x1 = (round(min(max(edge, 0), right)) for edge in (box[0], box[2]))
    y0, y1 = (round(min(max(edge, 0), bottom)) for edge in (box[1], box[3]))
    return x0, y0, max(x0, x1), max(y0, y1)


def _encode(canvas: Image.Image) -> str:
    data = b""
    for quality in (80, 60, 40, 20):
        buffer = io.BytesIO()
        canvas.save(buffer, "JPEG", quality=quality, optimize=True)
        data = buffer.getvalue()
        if len(data) <= MOST_BYTES:
            break
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
