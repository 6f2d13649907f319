"""Draws the quickstart's own data: small blood smears with red cells, white cells and platelets, labelled exactly.

Stained cells take light away, so each object multiplies the image by what it lets through; where two overlap it gets
darker, as under a microscope. Boxes are the extent of the drawn outline. The same seed gives the same bytes as long as
NumPy, OpenCV and the kind of processor stay the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = ("red-cell", "white-cell", "platelet")
COUNTS = {"train": 144, "val": 32, "test": 40}
SIZE = 200  # pixels, both sides
FINE = 2  # drawn this much larger, then averaged down, for smooth outlines
EMPTY = 0.08  # share of images without a cell

# Light that is absorbed at full thickness, as -log(transmission) in blue, green, red.
RED_CELL = np.array([0.34, 0.50, 0.15], np.float32)
CYTOPLASM = np.array([0.10, 0.30, 0.27], np.float32)
NUCLEUS = np.array([0.52, 1.45, 1.02], np.float32)
GRANULES = np.array([0.36, 0.95, 0.66], np.float32)
DEBRIS = np.array([0.75, 0.62, 0.45], np.float32)

Array = np.ndarray[Any, np.dtype[np.float32]]
Random = np.random.Generator


def draw(folder: Path, seed: int = 0) -> Path:
    """Write the data set in YOLO layout into `folder` and return it: 144 train, 32 val and 40 test images."""
    import cv2

    for number, (split, count) in enumerate(COUNTS.items()):
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True, exist_ok=True)
        labels.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            smear = Smear(np.random.default_rng([seed, number, index]))
            name = f"smear_{split}_{index:03d}"
            cv2.imwrite(str(images / f"{name}.png"), smear.photograph())
            (labels / f"{name}.txt").write_text(smear.label_text(), encoding="utf-8")
    names = "".join(f"  {index}: {name}\n" for index, name in enumerate(CLASSES))
    splits = "".join(f"{split}: images/{split}\n" for split in COUNTS)
    (folder / "data.yaml").write_text(f"{splits}names:\n{names}", encoding="utf-8")
    return folder


@dataclass(frozen=True)
class Shape:
    """A window of the canvas, in fine pixels, and the outline in it: 0 in the centre, 1 on the edge."""

    rows: slice
    columns: slice
    distance: Array
    radius: float

    def inside(self, softness: float) -> Array:
        """Return 1 inside, 0 outside, and a ramp of `softness` fine pixels at the edge."""
        ramp: Array = np.clip((1 - self.distance) * self.radius / softness + 0.5, 0, 1)
        return ramp


class Smear:
    """One field of view."""

    def __init__(self, random: Random) -> None:
        """Put cells on a slide: first red cells, then what lies among and over them."""
        self.random = random
        self.absorbed = np.zeros((SIZE * FINE, SIZE * FINE, 3), np.float32)
        self.boxes: list[tuple[int, float, float, float, float]] = []
        self._taken: list[tuple[float, float, float]] = []
        self._debris()
        if random.random() < EMPTY:
            return
        width = random.uniform(30, 54)  # of a red cell: the magnification of this field of view
        for _ in range(int(random.choice([0, 1, 1, 1, 2]))):
            self._place(self._white_cell, width * random.uniform(0.72, 0.9), crowding=1.0)
        area = random.uniform(0.25, 0.6) * SIZE**2
        for _ in range(max(3, round(area / width**2))):
            self._place(self._red_cell, width / 2 * random.normal(1, 0.06), crowding=random.choice([1.0, 1.0, 0.78]))
        for _ in range(int(random.integers(0, 6))):
            self._place(self._platelet, width * random.uniform(0.16, 0.21), crowding=1.25)

    def label_text(self) -> str:
        """Return YOLO label lines."""
        return "".join(f"{box[0]} {' '.join(f'{value:.6f}' for value in box[1:])}\n" for box in self.boxes)

    def photograph(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return the image in BGR, (200, 200, 3): light through the slide, blurred a little, with sensor noise."""
        import cv2

        random = self.random
        light = np.array([214, 219, 234], np.float32) + random.normal(0, 4, 3).astype(np.float32)
        slide = cv2.resize(light * np.exp(-self.absorbed), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j].astype(np.float32)
        tilt = random.uniform(-0.05, 0.05, 2)
        lamp = 1 + tilt[0] * x + tilt[1] * y - random.uniform(0.02, 0.08) * (x**2 + y**2)
        slide = cv2.GaussianBlur(slide * lamp[..., None].astype(np.float32), (0, 0), float(random.uniform(0.4, 0.8)))
        noise = random.normal(0, random.uniform(1.5, 3.5), slide.shape)
        image: np.ndarray[Any, np.dtype[np.uint8]] = np.clip(slide + noise, 0, 255).astype(np.uint8)
        return image

    # --- objects

    def _place(self, drawer: Any, radius: float, crowding: float) -> None:
        """Draw an object where there is room for it; a field that is full stays as it is."""
        for _ in range(40):
            beyond = min(0.25 * radius, radius - 6)  # the centre may lie outside, but a visible part remains
            x, y = self.random.uniform(-beyond, SIZE + beyond, 2)
            if all(np.hypot(x - ox, y - oy) > crowding * (radius + other) for ox, oy, other in self._taken):
                self._taken.append((x, y, radius))
                drawer(x, y, radius)
                return

    def _red_cell(self, x: float, y: float, radius: float) -> None:
        """A disc that is thin in the middle."""
        random = self.random
        shape = self._shape(x, y, radius, wobble=0.025, flatness=random.uniform(0.86, 1.0))
        pallor = random.uniform(0.4, 0.8) * np.exp(-((shape.distance / random.uniform(0.38, 0.52)) ** 2.4))
        rim = 0.12 * np.exp(-(((shape.distance - 0.86) / 0.1) ** 2))
        thickness = random.uniform(0.75, 1.1) * (0.9 + rim - pallor) * shape.inside(FINE * 1.2)
        self._absorb(shape, thickness, RED_CELL)
        self._label(0, shape)

    def _white_cell(self, x: float, y: float, radius: float) -> None:
        """Pale, grainy cytoplasm around a dark nucleus of two to four lobes."""
        random = self.random
        shape = self._shape(x, y, radius, wobble=0.035, flatness=random.uniform(0.9, 1.0))
        grain = self._grain(shape.distance.shape, FINE * 1.5)
        rim = 0.35 * np.exp(-(((shape.distance - 0.93) / 0.06) ** 2))
        self._absorb(shape, (0.85 + 0.25 * grain + rim) * shape.inside(FINE * 1.5), CYTOPLASM)
        lobes = int(random.integers(2, 5))
        turn, spread = random.uniform(0, 2 * np.pi), random.uniform(0.9, 1.5)
        nucleus = np.zeros_like(shape.distance)
        for lobe in range(lobes):
            angle = turn + spread * (lobe - (lobes - 1) / 2)
            px = x + 0.36 * radius * np.cos(angle)
            py = y + 0.36 * radius * np.sin(angle)
            part = self._shape(px, py, radius * random.uniform(0.3, 0.4), wobble=0.07, flatness=random.uniform(0.75, 1))
            mask = np.zeros_like(self.absorbed[..., 0])
            mask[part.rows, part.columns] = part.inside(FINE * 1.8)
            nucleus = np.maximum(nucleus, mask[shape.rows, shape.columns])
        texture = 0.85 + 0.22 * self._grain(shape.distance.shape, FINE * 2.2)
        self._absorb(shape, nucleus * texture * (shape.distance < 1), NUCLEUS)
        self._label(1, shape)

    def _platelet(self, x: float, y: float, radius: float) -> None:
        """A small purple speck, granular and ragged."""
        shape = self._shape(x, y, radius, wobble=0.09, flatness=self.random.uniform(0.7, 1.0))
        grain = self._grain(shape.distance.shape, FINE * 0.8)
        thickness = (0.55 + 0.35 * grain + 0.45 * np.exp(-((shape.distance / 0.6) ** 2))) * shape.inside(FINE * 1.2)
        self._absorb(shape, thickness, GRANULES)
        self._label(2, shape)

    def _debris(self) -> None:
        """What a detector must leave alone: uneven stain, dust, and a fibre now and then."""
        import cv2

        random = self.random
        cloud = self._grain((SIZE * FINE, SIZE * FINE), 45.0 * FINE)
        self.absorbed += 0.025 * cloud[..., None] * CYTOPLASM / CYTOPLASM.max()
        for _ in range(int(random.integers(0, 6))):
            x, y = random.uniform(0, SIZE, 2)
            shape = self._shape(x, y, random.uniform(0.8, 1.7), wobble=0.2, flatness=random.uniform(0.6, 1))
            self._absorb(shape, shape.inside(FINE * 0.8) * random.uniform(0.4, 1), DEBRIS)
        for _ in range(int(random.integers(0, 3))):
            x, y = random.uniform(0, SIZE, 2)
            shape = self._shape(x, y, random.uniform(8, 26), wobble=0.25, flatness=random.uniform(0.5, 0.9))
            stain = 0.22 * shape.inside(shape.radius * 0.9) * random.uniform(0.4, 1)
            self._absorb(shape, stain, CYTOPLASM)
        if random.random() < 0.15:
            points = random.uniform(-0.1, 1.1, (4, 2)) * SIZE * FINE
            t = np.linspace(0, 1, 40)[:, None]
            weights = np.concatenate([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)
            fibre = np.zeros(self.absorbed.shape[:2], np.uint8)
            cv2.polylines(fibre, [np.round(weights @ points).astype(np.int32)], False, 255, FINE, cv2.LINE_AA)
            self.absorbed += (fibre.astype(np.float32) / 255)[..., None] * DEBRIS * 0.35

    # --- means

    def _shape(self, x: float, y: float, radius: float, wobble: float, flatness: float) -> Shape:
        """Make an outline around (x, y): an ellipse with low waves on it. Lengths are in pixels of the image."""
        random = self.random
        reach = radius * 1.35 + 2
        low = np.floor((np.array([x, y]) - reach) * FINE).astype(int).clip(0, SIZE * FINE - 1)
        high = np.ceil((np.array([x, y]) + reach) * FINE).astype(int).clip(1, SIZE * FINE)
        grid = np.mgrid[low[1] : high[1], low[0] : high[0]].astype(np.float32) + 0.5
        dx, dy = grid[1] / FINE - float(x), grid[0] / FINE - float(y)
        turn = random.uniform(0, math.pi)
        cos, sin = math.cos(turn), math.sin(turn)
        u, v = dx * cos + dy * sin, (dy * cos - dx * sin) / flatness
        angle = np.arctan2(v, u)
        edge = np.full_like(angle, radius)
        for wave in range(2, 6):
            height, phase = random.normal(0, wobble) * 2 / wave, random.uniform(0, 2 * math.pi)
            edge *= 1 + height * np.cos(wave * angle + phase)
        distance = np.hypot(u, v) / edge
        return Shape(slice(low[1], high[1]), slice(low[0], high[0]), distance, radius * FINE)

    def _absorb(self, shape: Shape, thickness: Array, colour: Array) -> None:
        self.absorbed[shape.rows, shape.columns] += np.maximum(thickness, 0)[..., None].astype(np.float32) * colour

    def _grain(self, size: tuple[int, ...], scale: float) -> Array:
        """Return smooth noise of mean 0 and deviation 1 whose grains are `scale` fine pixels wide."""
        import cv2

        coarse = [max(4, round(length / scale)) for length in size]
        noise = self.random.normal(0, 1, coarse).astype(np.float32)
        grown: Array = cv2.resize(noise, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
        return grown

    def _label(self, index: int, shape: Shape) -> None:
        """Note the extent of what lies inside the outline and inside the image."""
        rows, columns = np.nonzero(shape.distance < 1)
        x0, x1 = columns.min() + shape.columns.start, columns.max() + 1 + shape.columns.start
        y0, y1 = rows.min() + shape.rows.start, rows.max() + 1 + shape.rows.start
        side = SIZE * FINE
        self.boxes.append((index, (x0 + x1) / 2 / side, (y0 + y1) / 2 / side, (x1 - x0) / side, (y1 - y0) / side))
