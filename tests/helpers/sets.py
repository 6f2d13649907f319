"""Small data sets that a test can break in one place, and a way to validate them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sightline.config import DataConfig, RunConfig, WeightsConfig
from sightline.documents import DataDocument, ValidateDocument, read
from sightline.errors import DataRejected, SightlineError
from sightline.validate import run

WIDTH, HEIGHT = 40, 20
BOX = "0.5 0.45 0.5 0.5"  # of each image, as a YOLO label has it
COUNTS = {"train": 6, "val": 2, "test": 2}


def picture(path: Path, number: int, size: tuple[int, int] = (WIDTH, HEIGHT), **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


class Sets:
    """Makes the same ten images with one box each (class number % 2, pixels 10,4 to 30,14) in any format."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @staticmethod
    def picture(path: Path, number: int, **options: Any) -> Path:
        return picture(path, number, **options)

    def numbers(self) -> dict[str, range]:
        result, start = {}, 0
        for split, count in COUNTS.items():
            result[split] = range(start, start + count)
            start += count
        return result

    def yolo(self, name: str = "yolo", **values: Any) -> Path:
        root = self.root / name
        for split, numbers in self.numbers().items():
            (root / "labels" / split).mkdir(parents=True)
            for n in numbers:
                picture(root / "images" / split / f"{n}.png", n)
                (root / "labels" / split / f"{n}.txt").write_text(f"{n % 2} 0.5 0.45 0.5 0.5\n")
        settings = {split: f"images/{split}" for split in COUNTS} | {"nc": 2, "names": ["cat", "dog"]} | values
        (root / "data.yaml").write_text(json.dumps({k: v for k, v in settings.items() if v is not None}))
        return root

    def coco(self, name: str = "coco") -> Path:
        root = self.root / name
        for split, numbers in self.numbers().items():
            for n in numbers:
                picture(root / split / f"{n}.png", n)
            document = {
                "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
                "images": [{"id": n, "file_name": f"{n}.png", "width": WIDTH, "height": HEIGHT} for n in numbers],
                "annotations": [
                    {"id": n, "image_id": n, "category_id": (3, 7)[n % 2], "bbox": [10, 4, 20, 10], "iscrowd": 0}
                    for n in numbers
                ],
            }
            (root / split / "_annotations.coco.json").write_text(json.dumps(document))
        return root

    def voc(self, name: str = "voc", box: tuple[float, float, float, float] = (10, 4, 30, 14)) -> Path:
        root = self.root / name
        (root / "Annotations").mkdir(parents=True)
        (root / "ImageSets" / "Main").mkdir(parents=True)
        for split, numbers in self.numbers().items():
            (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{n}\n" for n in numbers))
            for n in numbers:
                picture(root / "JPEGImages" / f"{n}.png", n)
                edges = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
                (root / "Annotations" / f"{n}.xml").write_text(
                    f"<annotation>\n<filename>{n}.png</filename>\n"
                    f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>\n"
                    f"<object>\n<name>{('cat', 'dog')[n % 2]}</name>\n<bndbox>{edges}</bndbox></object></annotation>\n"
                )
        return root


@pytest.fixture
def sets(tmp_path: Path) -> Sets:
    return Sets(tmp_path / "sets")


Validate = Callable[..., ValidateDocument]
Refuse = Callable[..., SightlineError]


@pytest.fixture
def validate(tmp_path: Path) -> Validate:
    """`validate(source, format=…, images=…, policy=…, store=…)` returns the document of a good source."""

    def call(
        source: Path | str, format: str = "auto", images: str | None = None, policy: Any = "default", **options: Any
    ) -> ValidateDocument:
        data = {"format": format, "images": images, "policy": policy, "voc_origin": options.pop("voc_origin", 0)}
        config = RunConfig(data=DataConfig.model_validate(data), weights=WeightsConfig(source="yolo11n.yaml"))
        return run(source=str(source), config=config, out=tmp_path / "out", **options)

    return call


@pytest.fixture
def refuse(validate: Validate, tmp_path: Path) -> Refuse:
    """`refuse(source, ErrorClass)` returns the error, after checking that nothing was left for a later stage."""

    def call(source: Path | str, kind: type[SightlineError], **options: Any) -> SightlineError:
        before = set((tmp_path / "store").rglob("manifest.json"))
        with pytest.raises(kind) as caught:
            validate(source, **options)
        assert type(caught.value) is kind
        assert not (tmp_path / "out" / "validate.json").exists()
        assert set((tmp_path / "store").rglob("manifest.json")) == before
        return caught.value

    return call


@pytest.fixture
def rejected(refuse: Refuse, tmp_path: Path) -> Callable[..., DataDocument]:
    """`rejected(source)` returns the data report of a source that the gate refuses."""

    def call(source: Path | str, **options: Any) -> DataDocument:
        error = refuse(source, DataRejected, **options)
        assert error.exit_code == 3
        document = read(DataDocument, tmp_path / "out")
        assert document.verdict == "rejected"
        return document

    return call


def found(document: ValidateDocument | DataDocument, severity: str | None = None) -> dict[str, int]:
    """Count what the rules found."""
    return {f.rule: f.count for f in document.findings if severity in (None, f.severity)}


def places(document: ValidateDocument | DataDocument, rule: str) -> list[str]:
    """Name the places where a rule found something."""
    return sorted(example.where for f in document.findings if f.rule == rule for example in f.examples)


def image_counts(document: DataDocument) -> dict[str, int]:
    """Count the images of each split."""
    return {split: part.images for split, part in document.splits.items()}
