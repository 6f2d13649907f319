"""Writes COCO JSON: `<split>/_annotations.coco.json` beside the images of the split.

Categories are numbered from 1 in the order of the classes, and all are listed, also those that no box uses. Images and
annotations are numbered from 1 in each file. Nothing is lost: see `pixels.edges`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sightline.datasets.formats import pixel_boxes
from sightline.datasets.types import Label, Sample
from sightline.documents import Split

FILE = "_annotations.coco.json"
Json = dict[str, Any]


def categories(classes: Sequence[str]) -> list[Json]:
    """Return the categories. Each is its own supercategory, like COCO's `person`: none of them groups others."""
    return [{"id": number, "name": name, "supercategory": name} for number, name in enumerate(classes, 1)]


def image(sample: Sample, number: int) -> Json:
    """Return what COCO says of an image; width and height are those of the upright image."""
    return {"id": number, "file_name": sample.name, "width": sample.width, "height": sample.height}


def annotation(label: Label, sample: Sample, image_id: int, number: int) -> Json:
    """Return what COCO says of an object; `bbox` is x, y, width, height in pixels, up to seven decimals."""
    x0, y0, x1, y1 = pixel_boxes.edges(label, sample.width, sample.height)
    width, height = round(x1 - x0, 7), round(y1 - y0, 7)
    return {
        "id": number,
        "image_id": image_id,
        "category_id": label[0] + 1,
        "bbox": [x0, y0, width, height],
        "area": round(width * height, 4),
        "iscrowd": 0,
        "segmentation": [],
    }


@contextlib.contextmanager
def writing(root: str, classes: Sequence[str]) -> Iterator[Callable[[Sample], str]]:
    """Give the function that writes an image and its annotations; the files are complete when the block ends."""
    documents: dict[Split, _Document] = {}
    with contextlib.ExitStack() as stack:

        def add(sample: Sample) -> str:
            if sample.split not in documents:
                document = _Document(f"{root}/{sample.split}", classes)
                documents[sample.split] = stack.enter_context(contextlib.closing(document))
            documents[sample.split].add(sample)
            return f"{root}/{sample.split}/{sample.name}"

        yield add
        for document in documents.values():
            document.finish()


class _Document:
    """One file in the making: images go straight into it, annotations wait in a file without a name."""

    def __init__(self, folder: str, classes: Sequence[str]) -> None:
        os.makedirs(folder)
        self.images = self.annotations = 0
        self._waiting = tempfile.TemporaryFile("w+", encoding="ascii", dir=folder)  # noqa: SIM115  see close
        self._file = open(f"{folder}/{FILE}", "x", encoding="ascii")  # noqa: SIM115
        listed = ",\n".join(map(json.dumps, categories(classes)))
        self._file.write(f'{{"info": {{}},\n"licenses": [],\n"categories": [\n{listed}\n],\n"images": [')

    def add(self, sample: Sample) -> None:
        """Write one image."""
        self.images += 1
        self._file.write(f"{',' * (self.images > 1)}\n{json.dumps(image(sample, self.images))}")
        for label in sample.labels:
            self.annotations += 1
            entry = annotation(label, sample, self.images, self.annotations)
            self._waiting.write(f"{',' * (self.annotations > 1)}\n{json.dumps(entry)}")

    def finish(self) -> None:
        """Append the annotations."""
        self._file.write('\n],\n"annotations": [')
        self._waiting.seek(0)
        shutil.copyfileobj(self._waiting, self._file)
        self._file.write("\n]}\n")

    def close(self) -> None:
        """Close both files; the one without a name is gone then."""
        self._waiting.close()
        self._file.close()
