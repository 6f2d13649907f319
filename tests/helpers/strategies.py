"""Data sets for property tests: everything that is legal and that somebody has, however odd."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from sightline.datasets.types import Dataset, Label, Sample
from sightline.documents import SPLITS, Split

LARGEST = 5000  # pixels of an image side
YAML_WORDS = ("no", "y", "null", "~", "1", "0x1f", "1e3", "1:30", "2020-01-01", "a: b", "- a", "# a", "*a", "&a", "!a")
HOSTILE = (
    *YAML_WORDS,
    *("<&>", "]]>", "&amp;", '"', "'", "\\n", "{}", "[a, b]", "%s", "a\tb", "ü", "u\u0308", "ñandú", "日本", "🦠 cell"),
    *("a  b", "A", "a", "train", "names", "x\u2028y", "\u202ex", "none", "object", "x" * 300),
)
STEMS = st.text("aAbZ019 ._()+=@,-", min_size=1, max_size=12).filter(lambda stem: not stem.startswith("."))


def class_names() -> st.SearchStrategy[str]:
    """Names that every format can hold: without control characters, and without spaces at the ends."""
    characters = st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff\ufeff")
    free = st.text(characters, min_size=1, max_size=12).filter(lambda name: name == name.strip())
    return st.sampled_from(HOSTILE) | free


def classes() -> st.SearchStrategy[list[str]]:
    """Lists of different class names."""
    return st.lists(class_names(), min_size=1, max_size=6, unique=True)


def sizes() -> st.SearchStrategy[tuple[int, int]]:
    """Width and height of an image in pixels."""
    side = st.integers(1, LARGEST) | st.sampled_from([1, 2, 3, 333, 640, LARGEST])
    return st.tuples(side, side)


@st.composite
def spans(draw: st.DrawFn, size: int) -> tuple[float, float]:
    """Centre and extent of a box along an image side of `size` pixels: fractions, the box a pixel long or more."""
    whole = draw(st.booleans())
    if whole:
        low = draw(st.integers(0, size - 1))
        high = draw(st.integers(low + 1, size))
        return round((low + high) / 2 / size, 6), round((high - low) / size, 6)
    low_part = draw(st.floats(0, 1 - 1 / size))
    high_part = draw(st.floats(min(low_part + 1 / size, 1), 1))
    return round((low_part + high_part) / 2, 6), round(high_part - low_part, 6)


@st.composite
def labels(draw: st.DrawFn, classes: int, size: tuple[int, int]) -> Label:
    """One canonical label in an image of `size`."""
    (cx, w), (cy, h) = draw(spans(size[0])), draw(spans(size[1]))
    return draw(st.integers(0, classes - 1)), cx, cy, w, h


@dataclass(frozen=True)
class Plan:
    """What a data set shall hold; `images` are (split, name, size, labels)."""

    classes: list[str]
    images: list[tuple[Split, str, tuple[int, int], tuple[Label, ...]]]


@st.composite
def plans(draw: st.DrawFn, most: int = 5) -> Plan:
    """A data set of at most `most` images in any splits; names are unique in a split, not over all of them."""
    names = draw(classes())
    images = []
    taken = set()
    for stem in draw(st.lists(STEMS, min_size=1, max_size=most)):
        split = draw(st.sampled_from(SPLITS))
        if (split, stem.lower()) in taken:
            continue
        taken.add((split, stem.lower()))
        size = draw(sizes())
        boxes = draw(st.lists(labels(len(names), size), max_size=4, unique=True))
        images.append((split, stem + draw(st.sampled_from([".jpg", ".png"])), size, tuple(sorted(boxes))))
    return Plan(names, images)


class MemoryDataset(Dataset):
    """A data set in memory. Formats do not look into images, so an image file holds its own split and name.

    `contents` are what the files hold instead.
    """

    def __init__(self, plan: Plan, folder: Path, contents: Sequence[str] | None = None) -> None:
        self.classes = plan.classes
        self._samples = []
        folder.mkdir(parents=True, exist_ok=True)
        for number, (split, name, (width, height), boxes) in enumerate(plan.images):
            source = f"{split}/{name}"
            data = (contents[number] if contents else source).encode()
            path = folder / f"{number}.bin"
            path.write_bytes(data)
            sha256 = hashlib.sha256(data).hexdigest()
            self._samples.append(Sample(split, name, str(path), source, sha256, len(data), width, height, boxes))
        self._samples.sort(key=lambda sample: (SPLITS.index(sample.split), sample.name))

    def samples(self, split: Split | None = None) -> Iterator[Sample]:
        return (sample for sample in self._samples if split in (None, sample.split))
