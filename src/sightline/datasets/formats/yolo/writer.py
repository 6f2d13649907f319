"""Writes YOLO: data.yaml, `images/<split>/<name>`, and `labels/<split>/<stem>.txt`, empty for a background."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import yaml

from sightline.datasets.formats.yolo.label_file import label_text
from sightline.datasets.types import Sample
from sightline.documents import Split


def description(classes: Sequence[str], splits: Iterable[Split]) -> str:
    """Return data.yaml.

    It has no `path`: the engine looks for a relative one from where it is started, and without it beside the file.
    """
    values: dict[str, object] = {split: f"images/{split}" for split in splits}
    values["names"] = dict(enumerate(classes))
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


@contextlib.contextmanager
def writing(root: str, classes: Sequence[str]) -> Iterator[Callable[[Sample], str]]:
    """Give the function that writes an image's label file; data.yaml is written when the block ends."""
    splits: list[Split] = []

    def add(sample: Sample) -> str:
        if sample.split not in splits:
            splits.append(sample.split)
            for kind in ("images", "labels"):
                os.makedirs(f"{root}/{kind}/{sample.split}")
        stem = os.path.splitext(sample.name)[0]
        with open(f"{root}/labels/{sample.split}/{stem}.txt", "x", encoding="ascii") as file:
            file.write(label_text(sample.labels))
        return f"{root}/images/{sample.split}/{sample.name}"

    yield add
    with open(f"{root}/data.yaml", "w", encoding="utf-8") as file:
        file.write(description(classes, splits))
