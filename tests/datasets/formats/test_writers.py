"""Writers: pure functions of numbers and text, folders as tools expect them, all or nothing."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sightline.config import FORMATS
from sightline.datasets.formats import pixel_boxes
from sightline.datasets.formats.coco import writer as coco
from sightline.datasets.formats.voc import writer as voc
from sightline.datasets.formats.writing import Format, write
from sightline.datasets.formats.yolo import writer as yolo
from sightline.datasets.types import Dataset, Label, Sample
from sightline.documents import Split
from sightline.errors import DataError, StageInputError
from tests.helpers.boxes import from_edges
from tests.helpers.strategies import MemoryDataset, Plan, class_names, classes, labels, sizes

HALF = (0, 0.5, 0.5, 0.5, 0.5)


PLAN = Plan(
    ["cat", "no", "never used"],
    [
        ("train", "a.jpg", (40, 20), ((0, 0.5, 0.45, 0.5, 0.5), (1, 0.25, 0.25, 0.5, 0.5))),
        ("train", "b.png", (40, 20), ()),
        ("test", "a.png", (3, 7), (HALF,)),
    ],
)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return MemoryDataset(PLAN, tmp_path / "source")


def listing(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


class TestPureFunctions:
    @given(data=st.data(), size=sizes())
    def test_edges_in_pixels_are_the_same_label_again(self, data: st.DataObject, size: tuple[int, int]) -> None:
        label = data.draw(labels(3, size))
        assert from_edges(pixel_boxes.edges(label, *size), *size) == label[1:]

    def test_boxes_on_whole_pixels_stay_on_them(self) -> None:
        for size in (333, 640, 1001, 1920):
            for low, high in ((0, 1), (10, 97), (13, 330), (1, 333)):
                center, _, extent, _ = from_edges((low, low, high, high), size, size)
                assert pixel_boxes.edges((0, center, center, extent, extent), size, size) == (low, low, high, high)

    @given(names=classes())
    def test_data_yaml_keeps_every_name_for_readers_that_guess_types_and_those_that_do_not(
        self, names: list[str]
    ) -> None:
        text = yolo.description(names, ["train", "test"])
        assert yaml.safe_load(text)["names"] == dict(enumerate(names))
        assert list(yaml.load(text, Loader=yaml.BaseLoader)["names"].values()) == names
        assert [yaml.safe_load(text)[key] for key in ("train", "test")] == ["images/train", "images/test"]
        assert "val" not in yaml.safe_load(text)

    def test_data_yaml_has_no_path_which_the_engine_would_look_for_where_it_is_started(self) -> None:
        assert "path" not in yaml.safe_load(yolo.description(["a"], ["train"]))

    @given(data=st.data(), names=classes(), size=sizes())
    def test_a_coco_annotation_is_the_same_label_again(
        self, data: st.DataObject, names: list[str], size: tuple[int, int]
    ) -> None:
        label = data.draw(labels(len(names), size))
        sample = Sample("train", "a.jpg", "", "a.jpg", "", 0, *size, (label,))
        entry = json.loads(json.dumps(coco.annotation(label, sample, 5, 9)))
        x, y, w, h = entry["bbox"]
        assert from_edges((x, y, x + w, y + h), *size) == label[1:]
        assert {c["id"]: c["name"] for c in coco.categories(names)}[entry["category_id"]] == names[label[0]]
        assert (entry["image_id"], entry["id"], entry["iscrowd"], entry["segmentation"]) == (5, 9, 0, [])
        assert entry["area"] == pytest.approx(w * h, abs=1e-4)
        assert min(w, h) > 0.99

    @given(data=st.data(), names=classes(), size=sizes())
    def test_a_voc_annotation_is_the_same_labels_again(
        self, data: st.DataObject, names: list[str], size: tuple[int, int]
    ) -> None:
        boxes = tuple(data.draw(st.lists(labels(len(names), size), max_size=3)))
        sample = Sample("train", "a.jpg", "", "a.jpg", "", 0, *size, boxes)
        root = ElementTree.fromstring(voc.annotation(sample, "b.jpg", names))
        found = []
        for element in root.iter("object"):
            texts = [element.findtext(f"bndbox/{edge}") or "" for edge in ("xmin", "ymin", "xmax", "ymax")]
            assert not any("e" in text or text.endswith(".0") for text in texts)
            found.append((names.index(element.findtext("name") or ""), *from_edges(tuple(map(float, texts)), *size)))
        assert tuple(found) == boxes
        assert [root.findtext(f"size/{key}") for key in ("width", "height", "depth")] == [*map(str, size), "3"]
        assert root.findtext("filename") == "b.jpg"

    @given(name=class_names())
    def test_voc_takes_every_name_without_control_characters_and_outer_spaces(self, name: str) -> None:
        assert voc.unsayable([name]) == []

    @pytest.mark.parametrize("name", [" a", "a ", "\u00a0a", "a\rb", "a\x00", "a\x1bb", "\ud800", "a\uffff", "\n"])
    def test_voc_refuses_a_name_that_would_come_back_different(self, name: str) -> None:
        assert voc.unsayable(["a", name]) == [name]


class TestFolders:
    def test_yolo_has_a_label_file_for_every_image_and_no_empty_split(self, dataset: Dataset, tmp_path: Path) -> None:
        write(dataset, "yolo", tmp_path / "out")
        assert listing(tmp_path / "out") == [
            *("data.yaml", "images/test/a.png", "images/train/a.jpg", "images/train/b.png"),
            *("labels/test/a.txt", "labels/train/a.txt", "labels/train/b.txt"),
        ]
        labels = tmp_path / "out" / "labels"
        assert (labels / "train" / "b.txt").read_bytes() == b""
        assert (labels / "train" / "a.txt").read_text() == (
            "0 0.500000 0.450000 0.500000 0.500000\n1 0.250000 0.250000 0.500000 0.500000\n"
        )
        assert (tmp_path / "out" / "images" / "test" / "a.png").read_bytes() == b"test/a.png"

    def test_coco_lists_every_class_and_numbers_from_one_in_each_file(self, dataset: Dataset, tmp_path: Path) -> None:
        write(dataset, "coco", tmp_path / "out")
        assert listing(tmp_path / "out") == [
            *("test/_annotations.coco.json", "test/a.png"),
            *("train/_annotations.coco.json", "train/a.jpg", "train/b.png"),
        ]
        document = json.loads((tmp_path / "out" / "train" / "_annotations.coco.json").read_text())
        assert list(document) == ["info", "licenses", "categories", "images", "annotations"]
        assert [(c["id"], c["name"]) for c in document["categories"]] == [(1, "cat"), (2, "no"), (3, "never used")]
        assert document["images"] == [
            {"id": 1, "file_name": "a.jpg", "width": 40, "height": 20},
            {"id": 2, "file_name": "b.png", "width": 40, "height": 20},
        ]
        assert [(a["id"], a["image_id"], a["category_id"], a["bbox"]) for a in document["annotations"]] == [
            (1, 1, 1, [10, 4, 20, 10]),
            (2, 1, 2, [0, 0, 20, 10]),
        ]
        other = json.loads((tmp_path / "out" / "test" / "_annotations.coco.json").read_text())
        assert [(a["id"], a["image_id"]) for a in other["annotations"]] == [(1, 1)]

    def test_coco_without_a_box_is_still_json(self, tmp_path: Path) -> None:
        write(MemoryDataset(Plan(["a"], [("val", "a.jpg", (9, 9), ())]), tmp_path / "source"), "coco", tmp_path / "out")
        document = json.loads((tmp_path / "out" / "val" / "_annotations.coco.json").read_text())
        assert (len(document["images"]), document["annotations"]) == (1, [])

    def test_voc_gives_each_image_of_all_splits_a_name_of_its_own(self, tmp_path: Path) -> None:
        images: list[tuple[Split, str]] = [
            *(("train", "a.jpg"), ("train", "a-val.jpg"), ("val", "A.png"), ("test", "a.jpg"), ("test", " .b .jpg")),
        ]
        plan = Plan(["x"], [(split, name, (8, 8), (HALF,)) for split, name in images])
        write(MemoryDataset(plan, tmp_path / "source"), "voc", tmp_path / "out")
        lists = {path.stem: path.read_text().splitlines() for path in (tmp_path / "out/ImageSets/Main").iterdir()}
        assert lists == {"train": ["a-val", "a"], "val": ["A-val-2"], "test": ["b", "a-test"]}
        assert listing(tmp_path / "out" / "JPEGImages") == ["A-val-2.png", "a-test.jpg", "a-val.jpg", "a.jpg", "b.jpg"]
        assert (tmp_path / "out" / "JPEGImages" / "A-val-2.png").read_bytes() == b"val/A.png"
        assert [path.stem for path in (tmp_path / "out" / "Annotations").iterdir() if path.stem == "a-test"]

    @pytest.mark.parametrize("format", FORMATS)
    def test_the_same_set_gives_the_same_bytes(self, format: Format, dataset: Dataset, tmp_path: Path) -> None:
        for name in ("one", "two"):
            write(dataset, format, tmp_path / name)
        assert listing(tmp_path / "one") == listing(tmp_path / "two")
        for name in listing(tmp_path / "one"):
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()

    def test_other_bytes_can_take_the_place_of_an_image(self, dataset: Dataset, tmp_path: Path) -> None:
        ticks: list[int] = []
        write(
            dataset,
            "yolo",
            tmp_path / "out",
            image_bytes=lambda sample: f"new {sample.name}".encode(),
            tick=lambda: ticks.append(1),
        )
        assert (tmp_path / "out/images/train/b.png").read_bytes() == b"new b.png"
        assert len(ticks) == 3


class Broken(MemoryDataset):
    """Ends with an error, or Ctrl-C, after the first image."""

    error: BaseException

    def samples(self, split: Split | None = None) -> Iterator[Sample]:
        yield next(super().samples())
        raise self.error


class TestWholeOrNotAtAll:
    @pytest.mark.parametrize("format", FORMATS)
    @pytest.mark.parametrize("error", [KeyboardInterrupt(), DataError("damaged"), OSError(28, "No space left")])
    def test_nothing_is_left_of_work_that_ended_early(
        self, format: Format, error: BaseException, tmp_path: Path
    ) -> None:
        dataset = Broken(PLAN, tmp_path / "source")
        dataset.error = error
        with pytest.raises(type(error)):
            write(dataset, format, tmp_path / "below" / "out")
        assert list((tmp_path / "below").iterdir()) == []

    @pytest.mark.parametrize("change", [lambda path: path.write_bytes(b"other"), lambda path: path.unlink()])
    def test_an_image_that_changed_since_it_was_checked_ends_the_work(
        self, change: Callable[[Path], None], dataset: Dataset, tmp_path: Path
    ) -> None:
        change(Path(next(dataset.samples("test")).image))
        with pytest.raises(DataError, match=r"test/a\.png changed while it was being read") as caught:
            write(dataset, "yolo", tmp_path / "out")
        assert caught.value.exit_code == 2
        assert [path.name for path in tmp_path.iterdir()] == ["source"]

    def test_a_folder_with_something_in_it_is_left_alone(self, dataset: Dataset, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine.txt").write_text("mine")
        with pytest.raises(StageInputError, match="is not empty") as caught:
            write(dataset, "yolo", tmp_path / "out")
        assert caught.value.exit_code == 2
        assert listing(tmp_path / "out") == ["mine.txt"]

    def test_a_file_is_left_alone(self, dataset: Dataset, tmp_path: Path) -> None:
        (tmp_path / "out").write_text("mine")
        with pytest.raises(StageInputError, match="is a file"):
            write(dataset, "coco", tmp_path / "out")
        assert (tmp_path / "out").read_text() == "mine"

    def test_an_empty_folder_is_taken_also_through_a_link(self, dataset: Dataset, tmp_path: Path) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "link").symlink_to("elsewhere")
        write(dataset, "yolo", tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "elsewhere" / "data.yaml").is_file()

    def test_a_mount_point_is_refused_before_the_work_rather_than_after_it(self, dataset: Dataset) -> None:
        with pytest.raises(StageInputError, match="is a mount point"):
            write(dataset, "yolo", Path("/proc"))

    def test_voc_says_every_class_name_that_it_cannot_hold(self, tmp_path: Path) -> None:
        plan = replace(PLAN, classes=["cat ", "no", "\x07bell"])
        with pytest.raises(DataError, match="VOC cannot hold") as caught:
            write(MemoryDataset(plan, tmp_path / "source"), "voc", tmp_path / "out")
        assert caught.value.problems == ("'cat '", "'\\x07bell'")
        assert not (tmp_path / "out").exists()


class Endless(Dataset):
    """Many images without a list of them."""

    def __init__(self, count: int) -> None:
        self.classes, self.count = ["a"], count

    def samples(self, split: Split | None = None) -> Iterator[Sample]:
        for number in range(self.count):
            label: Label = (0, 0.5, 0.5, 0.1, 0.1)
            yield Sample("train", f"{number:07}.jpg", "", "", "", 0, 9, 9, (label,) * 2)


@pytest.mark.parametrize("format", FORMATS)
def test_memory_does_not_grow_with_the_set(format: Format, tmp_path: Path) -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        write(Endless(count), format, tmp_path / str(count), image_bytes=lambda sample: b"")
        result = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return result

    peak(10)  # what is allocated once
    few, many = peak(100), peak(1100)
    assert many < few + 250_000, (few, many)  # images alone take 300 bytes each, and objects as many
