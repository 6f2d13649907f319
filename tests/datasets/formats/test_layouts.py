"""The layouts that people have: what labelling tools export, and sets that were moved from where they were written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from sightline.datasets import formats
from sightline.datasets.types import Folder
from sightline.errors import DataError
from tests.datasets.formats.test_formats import Collected, collect, problem
from tests.helpers.sets import COUNTS, HEIGHT, WIDTH, Sets, found, places

NAMES = "cat\ndog\n"
LABEL = "{} 0.5 0.45 0.5 0.5\n"
SPLIT = {"train": "train", "val": "val", "test": "test"}
CVAT = {"train": "Train", "val": "Validation", "test": "Test"}
ROBOFLOW = {"train": "train", "val": "valid", "test": "test"}
FLAT = dict.fromkeys(COUNTS, "")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class Maker:
    """Writes the ten images of `Sets`, split by split, as a tool does."""

    def __init__(self, sets: Sets, root: Path) -> None:
        self.sets, self.root = sets, root

    def images(self, pattern: str, splits: dict[str, str]) -> Iterable[tuple[str, str, int]]:
        """Draw the images at `pattern` (`{split}`, `{n}`); yield split, its name and the image's number."""
        for split, numbers in self.sets.numbers().items():
            for n in numbers:
                self.sets.picture(self.root / pattern.format(split=splits[split], n=n), n)
                yield split, splits[split], n

    def yolo(self, images: str, labels: str, splits: dict[str, str] = SPLIT) -> None:
        for _, name, n in self.images(images, splits):
            write(self.root / labels.format(split=name, n=n), LABEL.format(n % 2))

    def voc(self, images: str, labels: str, splits: dict[str, str] = SPLIT) -> None:
        for _, name, n in self.images(images, splits):
            write(
                self.root / labels.format(split=name, n=n),
                f"<annotation><filename>{n}.png</filename><size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
                f"<object><name>{('cat', 'dog')[n % 2]}</name><bndbox><xmin>10</xmin><ymin>4</ymin><xmax>30</xmax>"
                "<ymax>14</ymax></bndbox></object></annotation>",
            )

    def coco(self, images: str, labels: str, splits: dict[str, str] = SPLIT, name: str = "{n}.png") -> None:
        files: dict[str, dict[str, Any]] = {}
        for _, split, n in self.images(images, splits):
            document = files.setdefault(
                labels.format(split=split),
                {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]},
            )
            file_name = name.format(split=split, n=n)
            document["images"].append({"id": n + 1, "file_name": file_name, "width": WIDTH, "height": HEIGHT})
            box = {"bbox": [10, 4, 20, 10], "iscrowd": 0, "area": 200, "segmentation": []}
            document["annotations"].append({"id": n + 1, "image_id": n + 1, "category_id": n % 2 + 1} | box)
        for path, document in files.items():
            write(self.root / path, json.dumps(document))

    def write(self, name: str, text: str) -> None:
        write(self.root / name, text)


@pytest.fixture
def make(sets: Sets, tmp_path: Path) -> Maker:
    return Maker(sets, tmp_path / "export")


def cvat_ultralytics(make: Maker) -> None:
    make.yolo("images/{split}/{n}.png", "labels/{split}/{n}.txt", CVAT)
    make.write(
        "data.yaml",
        "Test: Test.txt\nTrain: Train.txt\nValidation: Validation.txt\nnames:\n  0: cat\n  1: dog\npath: .\n",
    )
    for split, numbers in make.sets.numbers().items():
        make.write(f"{CVAT[split]}.txt", "".join(f"data/images/{CVAT[split]}/{n}.png\n" for n in numbers))


def cvat_yolo_1_1(make: Maker) -> None:
    make.yolo("obj_{split}_data/{n}.png", "obj_{split}_data/{n}.txt", CVAT)
    make.write("obj.names", NAMES)
    lists = "".join(f"{name} = data/{name}.txt\n" for name in CVAT.values())
    make.write("obj.data", f"classes = 2\n{lists}names = data/obj.names\nbackup = backup/\n")
    for split, numbers in make.sets.numbers().items():
        name = CVAT[split]
        make.write(f"{name}.txt", "".join(f"data/obj_{name}_data/{n}.png\n" for n in numbers))


def cvat_coco(make: Maker) -> None:
    make.coco("images/{split}/{n}.png", "annotations/instances_{split}.json", CVAT)


def cvat_voc(make: Maker) -> None:
    make.voc("JPEGImages/{n}.png", "Annotations/{n}.xml")
    make.write("labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\n")
    for split, numbers in make.sets.numbers().items():
        make.write(f"ImageSets/Main/{CVAT[split]}.txt", "".join(f"{n}\n" for n in numbers))


def datumaro_yolo_ultralytics(make: Maker) -> None:
    make.yolo("images/{split}/{n}.png", "labels/{split}/{n}.txt")
    make.write("data.yaml", "names:\n- cat\n- dog\nnc: 2\ntrain: ./train.txt\nval: ./val.txt\ntest: ./test.txt\n")
    for split, numbers in make.sets.numbers().items():
        make.write(f"{split}.txt", "".join(f"data/images/{split}/{n}.png\n" for n in numbers))


def datumaro_voc(make: Maker) -> None:
    make.voc("JPEGImages/a picture {n}.png", "Annotations/a picture {n}.xml")
    for split, numbers in make.sets.numbers().items():
        make.write(f"ImageSets/Main/{split}.txt", "".join(f'"a picture {n}"\n' for n in numbers))


def roboflow_api(make: Maker) -> None:
    make.yolo("{split}/images/{n}.png", "{split}/labels/{n}.txt", ROBOFLOW)
    make.write("README.roboflow.txt", "exported via roboflow.com\n")
    train, val = "/content/proj-1/train/images", "/content/proj-1/valid/images"
    make.write("data.yaml", f"names: [cat, dog]\nnc: 2\ntrain: {train}\nval: {val}\ntest: ../test/images\n")


def roboflow_darknet(make: Maker) -> None:
    make.yolo("{split}/{n}.png", "{split}/{n}.txt", ROBOFLOW)
    for name in ROBOFLOW.values():
        make.write(f"{name}/_darknet.labels", NAMES)


def roboflow_coco(make: Maker) -> None:
    make.coco("{split}/{n}.png", "{split}/_annotations.coco.json", ROBOFLOW)


def roboflow_voc(make: Maker) -> None:
    make.voc("{split}/{n}.png", "{split}/{n}.xml", ROBOFLOW)


def fiftyone_yolo(make: Maker) -> None:
    make.yolo("images/{split}/{n}.png", "labels/{split}/{n}.txt")
    splits = "".join(f"{name}: ./images/{name}/\n" for name in SPLIT)
    make.write("dataset.yaml", f"names:\n- cat\n- dog\nnc: 2\npath: /home/me/exports/set\n{splits}")


def fiftyone_coco(make: Maker) -> None:
    make.coco("{split}/data/{n}.png", "{split}/labels.json")


def fiftyone_voc(make: Maker) -> None:
    make.voc("{split}/data/{n}.png", "{split}/labels/{n}.xml")


def supervisely_yolo(make: Maker) -> None:
    make.yolo("images/{split}/{n}.png", "labels/{split}/{n}.txt")
    splits = "".join(f"{name}: ../yolo/images/{name}\n{name}_labels: ../yolo/labels/{name}\n" for name in SPLIT)
    make.write("data_config.yaml", f"colors:\n- [0, 0, 255]\n- [255, 0, 0]\nnames: [cat, dog]\nnc: 2\n{splits}")


def supervisely_voc(make: Maker) -> None:
    home = "VOCdevkit/VOC"
    make.voc(f"{home}/JPEGImages/{{n}}.png", f"{home}/Annotations/{{n}}.xml")
    for split, numbers in make.sets.numbers().items():
        make.write(f"{home}/ImageSets/Main/{split}.txt", "".join(f"{n}\n" for n in numbers))
        make.write(f"{home}/ImageSets/Main/cat_{split}.txt", "".join(f"{n} 1\n" for n in numbers))


def labelme2yolo(make: Maker) -> None:
    make.yolo("YOLODataset/images/{split}/{n}.png", "YOLODataset/labels/{split}/{n}.txt")
    home = "C:\\Users\\me\\labels\\YOLODataset"
    splits = "".join(f"{name}: {home}\\images\\{name}\n" for name in SPLIT)
    make.write("YOLODataset/dataset.yaml", f"{splits}nc: 2\nnames: ['cat', 'dog']\n")


EXPORTS = [
    *(cvat_ultralytics, cvat_yolo_1_1, cvat_coco, cvat_voc, datumaro_yolo_ultralytics, datumaro_voc, roboflow_api),
    *(roboflow_darknet, roboflow_coco, roboflow_voc, fiftyone_yolo, fiftyone_coco, fiftyone_voc, supervisely_yolo),
    *(supervisely_voc, labelme2yolo),
]


@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.__name__)
@pytest.mark.parametrize("fenced", [False, True], ids=["folder", "archive"])
def test_what_a_tool_exports_is_read_with_its_splits(make: Maker, export: Callable[[Maker], None], fenced: bool):
    export(make)
    expected = collect(make.sets.yolo()).boxes
    read = collect(make.root, fenced=fenced)
    assert {(split, stem.removeprefix("a picture ")): boxes for (split, stem), boxes in read.boxes.items()} == expected
    assert {rule for rule, _ in read.rules()} <= {"data-path"}
    assert read.reading.declared == {"train", "val", "test"}


def unsplit(read: Collected) -> dict[str, Any]:
    return {stem: boxes for (_, stem), boxes in read.boxes.items()}


def label_studio_yolo(make: Maker) -> None:
    make.yolo("images/{n}.png", "labels/{n}.txt")
    make.write("classes.txt", NAMES)
    names = [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]
    make.write("notes.json", json.dumps({"categories": names, "info": {"contributor": "Label Studio"}}))


def label_studio_coco(make: Maker) -> None:
    make.coco("images/{n}.png", "result.json", name="images/{n}.png")


def label_studio_coco_of_windows(make: Maker) -> None:
    make.coco("images/{n}.png", "result.json", name="images\\{n}.png")


def label_studio_coco_without_images(make: Maker) -> None:
    make.coco("images/{n}.png", "result.json", name="../../label-studio/data/media/upload/1/{n}.png")


def label_studio_voc(make: Maker) -> None:
    make.voc("images/{n}.png", "Annotations/{n}.xml")


def labelimg_yolo(make: Maker) -> None:
    make.yolo("{n}.png", "{n}.txt")
    make.write("classes.txt", NAMES)


def labelimg_voc(make: Maker) -> None:
    make.voc("{n}.png", "{n}.xml")


def labelme2voc(make: Maker) -> None:
    make.voc("JPEGImages/{n}.png", "Annotations/{n}.xml")
    make.write("class_names.txt", "__ignore__\n_background_\n" + NAMES)
    make.sets.picture(make.root / "AnnotationsVisualization/0.png", 99)


def labelme2coco(make: Maker) -> None:
    make.coco("JPEGImages/{n}.png", "annotations.json", name="JPEGImages/{n}.png")


def supervisely_coco(make: Maker) -> None:
    make.coco("ds0/images/{n}.png", "ds0/annotations/instances.json")
    make.write("meta.json", '{"classes": [], "tags": [], "projectType": "images"}')


def cvat_coco_without_subsets(make: Maker) -> None:
    make.coco("images/default/{n}.png", "annotations/instances_default.json")


def cvat_voc_without_subsets(make: Maker) -> None:
    make.voc("JPEGImages/{n}.png", "Annotations/{n}.xml")
    make.write("ImageSets/Main/default.txt", "".join(f"{n}\n" for n in range(10)))


def fiftyone_yolo_4(make: Maker) -> None:
    make.yolo("data/{n}.png", "data/{n}.txt")
    make.write("obj.names", NAMES)
    make.write("images.txt", "".join(f"data/{n}.png\n" for n in range(10)))


def fiftyone_coco_without_splits(make: Maker) -> None:
    make.coco("data/{n}.png", "labels.json")


def zipped_with_two_folders_around(make: Maker) -> None:
    make.yolo("project/set/images/{n}.png", "project/set/labels/{n}.txt")
    make.write("project/set/classes.txt", NAMES)


WITHOUT_SPLITS = [
    *(label_studio_yolo, label_studio_coco, label_studio_coco_of_windows, label_studio_coco_without_images),
    *(label_studio_voc, labelimg_yolo, labelimg_voc, labelme2voc, labelme2coco, supervisely_coco),
    *(cvat_coco_without_subsets, cvat_voc_without_subsets, fiftyone_yolo_4, fiftyone_coco_without_splits),
    zipped_with_two_folders_around,
]


@pytest.mark.parametrize("export", WITHOUT_SPLITS, ids=lambda export: export.__name__)
def test_what_a_tool_exports_without_splits_is_one_set(make: Maker, export: Callable[[Maker], None]):
    export(make)
    expected = unsplit(collect(make.sets.yolo()))
    read = collect(make.root, fenced=True)
    elsewhere = [("data-path", "result.json: images[0]")] if export is label_studio_coco_without_images else []
    assert (unsplit(read), read.reading.declared, read.rules()) == (expected, set(), elsewhere)


# --- what is not read


SHAPE = {"label": "cat", "points": [[1, 2], [3, 4]], "shape_type": "rectangle"}
TASK = {"id": 1, "data": {"image": "/a.jpg"}, "annotations": [{"result": [{"from_name": "label", "value": {}}]}]}
FOREIGN = {
    "labelme": ("a.json", {"shapes": [SHAPE], "imagePath": "a.jpg"}, ["labelme's own", "labelme2voc"]),
    "supervisely": ("ds/ann/a.jpg.json", {"tags": [], "size": {}, "objects": []}, ["Supervisely", "Pascal VOC"]),
    "label-studio": ("project.json", [TASK], ["Label Studio", "YOLO with Images"]),
    "label-studio-min": ("min.json", [{"image": "a", "annotation_id": 1, "annotator": 2}], ["JSON-MIN"]),
    "datumaro": ("annotations/a.json", {"infos": {}, "categories": {}, "items": []}, ["Datumaro", "coco_instances"]),
    "fiftyone": ("samples.json", {"samples": [{"filepath": "data/a.jpg"}]}, ["FiftyOne", "YOLOv5Dataset"]),
    "create-ml": (
        "a.json",
        [{"image": "a.jpg", "annotations": [{"label": "cat", "coordinates": {"x": 1}}]}],
        ["Create ML", "labelImg", "PascalVOC"],
    ),
    "via": ("via.json", {"a.jpg1": {"regions": [{"shape_attributes": {}}]}}, ["VGG Image Annotator"]),
    "coco-result": ("found.json", [{"image_id": 1, "category_id": 1, "score": 0.5}], ["predictions"]),
    "cvat": ("annotations.xml", "<annotations><version>1.1</version></annotations>", ["CVAT", "COCO"]),
    "csv": ("train/_annotations.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\n", ["CSV", "YOLO"]),
    "tfrecord": ("train/a.tfrecord", "x", ["TFRecord"]),
    "jsonl": ("train/_annotations.train.jsonl", "{}\n", ["JSON Lines"]),
    "keras": ("train/_annotations.txt", "a.jpg 1,2,3,4,0 5,6,7,8,1\n", ["Keras"]),
    "kitti": ("labels/a.txt", "Car 0.00 0 -1.57 1.0 2.0 3.0 4.0 0 0 0 0 0 0 0\n", ["KITTI"]),
}  # fmt: skip


@pytest.mark.parametrize("tool", FOREIGN)
def test_what_is_no_yolo_coco_or_voc_is_named_with_what_to_export_instead(make: Maker, tool: str):
    name, content, words = FOREIGN[tool]
    make.sets.picture(make.root / "images/a.jpg", 1)
    make.write(name, content if isinstance(content, str) else json.dumps(content))
    message = problem(make.root)
    for word in (*words, name, "which is not read"):
        assert word in message
    if tool in ("labelme", "cvat", "coco-result"):
        assert words[0] in problem_of_file(make.root / name)


def test_yolo_labels_that_lack_only_class_names_are_said_to(sets: Sets):
    root = sets.yolo()
    (root / "data.yaml").unlink()
    (root / "labels/train/0.txt").write_text("7 0.5 0.5 0.1 0.1\n")
    message = problem(root)
    for word in ("no class names", "labels/", "data.yaml", "classes.txt", "0, 1, 7"):
        assert word in message


# --- a file in place of the folder


def open_file(file: Path, **options: Any) -> Folder:
    return Folder(file.parents[formats.named.levels(file)], str(file), None, None, file)


def problem_of_file(file: Path) -> str:
    with pytest.raises(DataError) as caught:
        formats.read(open_file(file))
    return str(caught.value)


def test_a_file_that_describes_a_set_is_taken_for_it(sets: Sets, validate: Any):
    yolo, coco, voc = sets.yolo(), sets.coco("coco/inner"), sets.voc()
    (yolo / "data.yaml").rename(yolo / "my set.yml")
    expected = {"train": 6, "val": 2, "test": 2}
    document = validate(yolo / "my set.yml")
    assert ({split: part.images for split, part in document.splits.items()}, found(document)) == (
        expected,
        {"few-boxes": 2},
    )
    document = validate(voc / "Annotations/3.xml")
    assert {split: part.images for split, part in document.splits.items()} == expected
    assert places(document, "data-path") == ["Annotations/3.xml"]
    for name, count in (("train", 6), ("test", 2)):
        reading = formats.read(open_file(coco / name / "_annotations.coco.json"))
        assert (len(list(reading.records())), reading.declared) == (count, set())
        reading = formats.read(open_file(voc / f"ImageSets/Main/{name}.txt"))
        assert (len(list(reading.records())), reading.declared) == (count, set())


def test_a_data_yaml_is_taken_from_an_object_store(sets: Sets, validate: Any, s3: str):
    from sightline.storage import Transfer, open_store

    root = sets.yolo()
    files = [path for path in root.rglob("*") if path.is_file()]
    open_store(f"s3://{s3}/raw/set").upload([Transfer(str(path.relative_to(root)), path) for path in files])
    assert validate(f"s3://{s3}/raw/set/data.yaml").digest == validate(root).digest


def test_a_file_that_describes_nothing_is_refused_with_what_would(sets: Sets, refuse: Any):
    root = sets.yolo()
    assert "Name the folder" in refuse(root / "labels/train/0.txt", DataError).message
    assert "is an image; expected the folder" in refuse(root / "images/train/0.png", DataError).message
    message = refuse(root / "data.yaml", DataError, format="voc").message
    assert "is a file of the format yolo, and the format voc was asked for" in message
    (root / "half.json").write_text('{"images": [], "categories": []}')
    assert "has no annotations; expected the COCO lists" in refuse(root / "half.json", DataError).message


# --- paths that lead nowhere


@pytest.mark.parametrize(
    ("values", "messages"),
    [
        (
            {"train": "data/images/train"},
            ["train: 'data/images/train' leads nowhere as it is written; took images/train"],
        ),
        ({"train": r"images\train"}, [r"train: 'images\train' leads nowhere as it is written; took images/train"]),
        ({"train": r"D:\sets\mine\images\train"}, ["took images/train"]),
        ({"train": "/content/mine/train/images"}, ["took images/train"]),
        ({"train": "file:///home/me/images/train"}, ["took images/train"]),
        ({"train": None, "Train": "images/train", "val": None, "Validation": "images/val"}, []),
        ({"path": "/kaggle/input/mine"}, ["path: '/kaggle/input/mine' leads nowhere; took the folder of data.yaml"]),
        ({"path": "..\\yolo"}, []),
        (
            {"path": "labels", "test": None},
            ["train: 'images/train' is not below the folder that `path` names, labels; took images/train"] * 1
            + ["val: 'images/val' is not below the folder that `path` names, labels; took images/val"],
        ),
    ],
    ids=["data", "backslash", "drive", "colab", "uri", "capitals", "path", "path-of-windows", "path-elsewhere"],
)
def test_a_path_that_can_mean_one_place_is_taken_and_said(sets: Sets, values: dict[str, Any], messages: list[str]):
    read = collect(sets.yolo(**values), fenced=True)
    assert read.boxes == collect(sets.yolo("plain")).boxes
    said = [item.message for item in read.found]
    assert len(said) == len(messages)
    for message, expected in zip(said, messages, strict=True):
        assert message.endswith(expected)


def test_a_path_that_can_mean_two_places_is_refused_with_both(sets: Sets):
    root = sets.yolo(train="/content/mine/train/images")
    shutil.copytree(root / "images/train", root / "train/images")
    assert "took" not in problem_or_read(root)
    shutil.copytree(root / "images/train", root / "a/part/train")
    shutil.copytree(root / "images/train", root / "b/part/train")
    text = json.loads((root / "data.yaml").read_text()) | {"train": "/content/part/train"}
    (root / "data.yaml").write_text(json.dumps(text))
    message = problem(root)
    for word in ("train: '/content/part/train'", "a/part/train or b/part/train", "write which of them"):
        assert word in message


def problem_or_read(root: Path) -> str:
    return "; ".join(item.message for item in collect(root).found if "took images" in item.message)


def test_no_split_is_made_of_the_folder_of_all(sets: Sets):
    root = sets.yolo(train="/x/train/images", val="/x/val/images", test=None)
    for split in COUNTS:
        for path in (root / "images" / split).iterdir():
            path.rename(root / "images" / path.name)
        (root / "images" / split).rmdir()
    message = problem(root)
    for word in ("train: '/x/train/images' is no folder", "val: '/x/val/images'", "tried x/train/images, train/images"):
        assert word in message
    (root / "data.yaml").write_text("train: /x/images\nval: /y/images\nnames: [cat, dog]\n")
    assert "val: '/y/images' leads nowhere, and all that is like it is the place of train" in problem(root)


def test_two_spellings_of_a_split_that_lead_to_two_places_are_refused(sets: Sets):
    assert "val and valid are the same split" in problem(sets.yolo(valid="images/test"))
    assert "'train' is given twice" in problem(sets.yolo("other", Train="images/test"))


@pytest.mark.parametrize("scheme", ["https", "s3", "ftp"])
def test_a_url_in_data_yaml_is_not_followed(sets: Sets, scheme):
    message = problem(sets.yolo(train=f"{scheme}://x.y/train.zip"))
    assert f"train: '{scheme}://x.y/train.zip' is a URL, and nothing is downloaded" in message


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{}", "'0' is no path of an image: it has no suffix of one, and 5 more lines are like it"),
        ("labels/train/{}.txt", "'labels/train/0.txt' is the path of a label, and 5 more lines are like it"),
    ],
)
def test_a_list_of_what_is_no_image_is_explained_once(sets: Sets, line, words):
    root = sets.yolo(train="train.txt")
    (root / "train.txt").write_text("".join(line.format(n) + "\n" for n in range(6)))
    read = collect(root)
    assert read.rules() == [("missing-image", "train.txt:1")]
    assert words in read.found[0].message


def test_lists_of_another_machine_are_followed_and_said_once(sets: Sets):
    root = sets.yolo(train="train.txt", val="val.txt")
    lines = "".join(rf"C:\sets\mine\images\train\{n}.png" + "\n" for n in range(5))
    (root / "train.txt").write_text(f"images/train/5.png\n{lines}/home/me/images/train/gone.png\n")
    (root / "val.txt").write_text("/home/me/mine/images/val/6.png\n/home/me/mine/images/val/7.png\n")
    read = collect(root, fenced=True)
    assert read.boxes == collect(sets.yolo("plain")).boxes
    assert read.rules() == [("missing-image", "train.txt:7"), ("data-path", "train.txt:2"), ("data-path", "val.txt:1")]
    assert read.found[1].message == (
        r"'C:\sets\mine\images\train\0.png' leads nowhere as it is written, and so do 4 more lines; "
        "took images/train/0.png"
    )


def test_a_line_is_not_followed_to_an_image_of_another_split(sets: Sets):
    root = sets.yolo(train="images/train.txt")
    shutil.copy(root / "images/val/6.png", root / "images/9.png")
    (root / "images/train.txt").write_text("train/0.png\n/home/me/train/9.png\n")
    assert ("missing-image", "images/train.txt:2") in collect(root).rules()


def test_class_names_in_a_file_of_their_own_are_read(sets: Sets):
    root = sets.yolo(names="data/coco.names")
    (root / "coco.names").write_text(NAMES)
    assert collect(root).reading.classes == ["cat", "dog"]
    (root / "coco.names").unlink()
    assert "has no class names" in problem(root)


# --- messages that a new user reads


def test_labels_in_a_folder_of_another_name_are_taken_and_said(sets: Sets):
    root = sets.yolo()
    (root / "labels").rename(root / "Annotations")
    shutil.copytree(root / "Annotations", root / "predictions")
    read = collect(root, fenced=True)
    assert read.boxes == collect(sets.yolo("plain")).boxes
    assert read.rules() == [("data-path", f"images/{split}") for split in COUNTS]
    assert read.found[0].message == "has no labels in labels/train, where they usually are; took Annotations/train"
    shutil.copytree(root / "Annotations", root / "second")
    assert all(entry.label is None for entry in collect(root).entries.values())


def test_images_left_out_are_named_one_by_one_with_the_reason(sets: Sets, validate: Any, tmp_path: Path):
    yolo, coco, voc = sets.yolo(), sets.coco(), sets.voc()
    for number in range(20, 24):
        for folder in (yolo / "images/extra", coco / "train", voc / "JPEGImages"):
            sets.picture(folder / f"{number}.png", number)
        write(yolo / f"labels/extra/{number}.txt", LABEL.format(0))
    said = {}
    for root in (yolo, coco, voc):
        [finding] = [finding for finding in validate(root).findings if finding.rule == "unused-file"]
        said[root.name] = (finding.count, finding.examples[0].where, finding.examples[0].message)
        assert (tmp_path / "out/problems.csv").read_text().count("unused-file") == finding.count
    assert said == {
        "yolo": (1, "images/extra", "4 images with labels, in a folder that no split names; left out"),
        "coco": (4, "train/20.png", "is an image that no annotation file lists; left out"),
        "voc": (
            4,
            "JPEGImages/20.png",
            "is an image without an annotation file; expected Annotations/20.xml; left out",
        ),
    }


def test_where_boxes_belong_is_said_in_the_words_of_the_format(sets: Sets, refuse: Any):
    yolo, coco, voc = sets.yolo(), sets.coco(), sets.voc()
    for path in (yolo / "labels").rglob("*.txt"):
        path.write_text("")
    for path in coco.rglob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"annotations": []}))
    for path in (voc / "Annotations").iterdir():
        path.write_text(path.read_text().partition("<object>")[0] + "</annotation>")
    for root, words in (
        (yolo, "a folder `labels`"),
        (coco, "entries of `annotations`"),
        (voc, "<object> elements in the .xml"),
    ):
        message = refuse(root, DataError).message
        assert "no box in its train split (6 images)" in message
        assert words in message
        assert ("labels` beside" in message) == (root is yolo)


def test_a_missing_label_and_a_missing_image_say_where_they_were_looked_for(sets: Sets, validate: Any):
    root = sets.yolo(val="val.txt")
    (root / "labels/train/0.txt").unlink()
    [finding] = [finding for finding in validate(root_with_list(root)).findings if finding.rule == "missing-label"]
    assert finding.examples[0].message == "has no label file labels/train/0.txt"
    (root / "val.txt").write_text("images/val/6.png\n/home/me/val/gone.png\n")
    [gone] = [item for item in collect(root).found if item.rule == "missing-image"]
    assert gone.message == (
        "the image '/home/me/val/gone.png' is not there; tried home/me/val/gone.png, me/val/gone.png, val/gone.png "
        "below the source"
    )


def root_with_list(root: Path) -> Path:
    (root / "val.txt").write_text("images/val/6.png\nimages/val/7.png\n")
    return root


def test_a_data_yaml_that_lacks_only_names_says_so_with_its_keys(sets: Sets):
    message = problem(sets.yolo(names=None, classes=["cat", "dog"]))
    assert "has no class names; expected `names: [first, second]`" in message
    assert "Its keys are train, val, test, nc, classes." in message


def test_several_coco_files_without_splits_say_how_to_choose(make: Maker):
    supervisely_coco(make)
    shutil.copytree(make.root / "ds0", make.root / "ds1")
    message = problem(make.root)
    assert "ds0/annotations/instances.json, ds1/annotations/instances.json" in message
    assert "--data" in message
