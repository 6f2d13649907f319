"""What labelling tools write: the ten images of `Sets` in the layout of each."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.helpers.sets import HEIGHT, WIDTH, Sets

NAMES = "cat\ndog\n"


LABEL = "{} 0.5 0.45 0.5 0.5\n"


SPLIT = {"train": "train", "val": "val", "test": "test"}


CVAT = {"train": "Train", "val": "Validation", "test": "Test"}


ROBOFLOW = {"train": "train", "val": "valid", "test": "test"}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class ToolExport:
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


def cvat_ultralytics(make: ToolExport) -> None:
    make.yolo("images/{split}/{n}.png", "labels/{split}/{n}.txt", CVAT)
    make.write(
        "data.yaml",
        "Test: Test.txt\nTrain: Train.txt\nValidation: Validation.txt\nnames:\n  0: cat\n  1: dog\npath: .\n",
    )
    for split, numbers in make.sets.numbers().items():
        make.write(f"{CVAT[split]}.txt", "".join(f"data/images/{CVAT[split]}/{n}.png\n" for n in numbers))


def cvat_yolo_1_1(make: ToolExport) -> None:
    make.yolo("obj_{split}_data/{n}.png", "obj_{split}_data/{n}.txt", CVAT)
    make.write("obj.names", NAMES)
    lists = "".join(f"{name} = data/{name}.txt\n" for name in CVAT.values())
    make.write("obj.data", f"classes = 2\n{lists}names = data/obj.names\nbackup = backup/\n")
    for split, numbers in make.sets.numbers().items():
        name = CVAT[split]
        make.write(f"{name}.txt", "".join(f"data/obj_{name}_data/{n}.png\n" for n in numbers))


def cvat_coco(make: ToolExport) -> None:
    make.coco("images/{split}/{n}.png", "annotations/instances_{split}.json", CVAT)


def cvat_voc(make: ToolExport) -> None:
    make.voc("JPEGImages/{n}.png", "Annotations/{n}.xml")
    make.write("labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\n")
    for split, numbers in make.sets.numbers().items():
        make.write(f"ImageSets/Main/{CVAT[split]}.txt", "".join(f"{n}\n" for n in numbers))


def datumaro_yolo_ultralytics(make: ToolExport) -> None:
    make.yolo("images/{split}/{n}.png", "labels/{split}/{n}.txt")
    make.write("data.yaml", "names:\n- cat\n- dog\nnc: 2\ntrain: ./train.txt\nval: ./val.txt\ntest: ./test.txt\n")
    for split, numbers in make.sets.numbers().items():
        make.write(f"{split}.txt", "".join(f"data/images/{split}/{n}.png\n" for n in numbers))


def datumaro_voc(make: ToolExport) -> None:
    make.voc("JPEGImages/a picture {n}.png", "Annotations/a picture {n}.xml")
    for split, numbers in make.sets.numbers().items():
        make.write(f"ImageSets/Main/{split}.txt", "".join(f'"a picture {n}"\n' for n in numbers))


def roboflow_api(make: ToolExport) -> None:
    make.yolo("{split}/images/{n}.png", "{split}/labels/{n}.txt", ROBOFLOW)
    make.write("README.roboflow.txt", "exported via roboflow.com\n")
    train, val = "/content/proj-1/train/images", "/content/proj-1/valid/images"
    make.write("data.yaml", f"names: [cat, dog]\nnc: 2\ntrain: {train}\nval: {val}\ntest: ../test/images\n")


def roboflow_darknet(make: ToolExport) -> None:
    make.yolo("{split}/{n}.png", "{split}/{n}.txt", ROBOFLOW)
    for name in ROBOFLOW.values():
        make.write(f"{name}/_darknet.labels", NAMES)


def roboflow_coco(make: ToolExport) -> None:
    make.coco("{split}/{n}.png", "{split}/_annotations.coco.json", ROBOFLOW)


def roboflow_voc(make: ToolExport) -> None:
    make.voc("{split}/{n}.png", "{split}/{n}.xml", ROBOFLOW)


def fiftyone_yolo(make: ToolExport) -> None:
    make.yolo("images/{split}/{n}.png", "labels/{split}/{n}.txt")
    splits = "".join(f"{name}: ./images/{name}/\n" for name in SPLIT)
    make.write("dataset.yaml", f"names:\n- cat\n- dog\nnc: 2\npath: /home/me/exports/set\n{splits}")


def fiftyone_coco(make: ToolExport) -> None:
    make.coco("{split}/data/{n}.png", "{split}/labels.json")


def fiftyone_voc(make: ToolExport) -> None:
    make.voc("{split}/data/{n}.png", "{split}/labels/{n}.xml")


def supervisely_yolo(make: ToolExport) -> None:
    make.yolo("images/{split}/{n}.png", "labels/{split}/{n}.txt")
    splits = "".join(f"{name}: ../yolo/images/{name}\n{name}_labels: ../yolo/labels/{name}\n" for name in SPLIT)
    make.write("data_config.yaml", f"colors:\n- [0, 0, 255]\n- [255, 0, 0]\nnames: [cat, dog]\nnc: 2\n{splits}")


def supervisely_voc(make: ToolExport) -> None:
    home = "VOCdevkit/VOC"
    make.voc(f"{home}/JPEGImages/{{n}}.png", f"{home}/Annotations/{{n}}.xml")
    for split, numbers in make.sets.numbers().items():
        make.write(f"{home}/ImageSets/Main/{split}.txt", "".join(f"{n}\n" for n in numbers))
        make.write(f"{home}/ImageSets/Main/cat_{split}.txt", "".join(f"{n} 1\n" for n in numbers))


def labelme2yolo(make: ToolExport) -> None:
    make.yolo("YOLODataset/images/{split}/{n}.png", "YOLODataset/labels/{split}/{n}.txt")
    home = "C:\\Users\\me\\labels\\YOLODataset"
    splits = "".join(f"{name}: {home}\\images\\{name}\n" for name in SPLIT)
    make.write("YOLODataset/dataset.yaml", f"{splits}nc: 2\nnames: ['cat', 'dog']\n")


EXPORTS = [
    *(cvat_ultralytics, cvat_yolo_1_1, cvat_coco, cvat_voc, datumaro_yolo_ultralytics, datumaro_voc, roboflow_api),
    *(roboflow_darknet, roboflow_coco, roboflow_voc, fiftyone_yolo, fiftyone_coco, fiftyone_voc, supervisely_yolo),
    *(supervisely_voc, labelme2yolo),
]


def label_studio_yolo(make: ToolExport) -> None:
    make.yolo("images/{n}.png", "labels/{n}.txt")
    make.write("classes.txt", NAMES)
    names = [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]
    make.write("notes.json", json.dumps({"categories": names, "info": {"contributor": "Label Studio"}}))


def label_studio_coco(make: ToolExport) -> None:
    make.coco("images/{n}.png", "result.json", name="images/{n}.png")


def label_studio_coco_of_windows(make: ToolExport) -> None:
    make.coco("images/{n}.png", "result.json", name="images\\{n}.png")


def label_studio_coco_without_images(make: ToolExport) -> None:
    make.coco("images/{n}.png", "result.json", name="../../label-studio/data/media/upload/1/{n}.png")


def label_studio_voc(make: ToolExport) -> None:
    make.voc("images/{n}.png", "Annotations/{n}.xml")


def labelimg_yolo(make: ToolExport) -> None:
    make.yolo("{n}.png", "{n}.txt")
    make.write("classes.txt", NAMES)


def labelimg_voc(make: ToolExport) -> None:
    make.voc("{n}.png", "{n}.xml")


def labelme2voc(make: ToolExport) -> None:
    make.voc("JPEGImages/{n}.png", "Annotations/{n}.xml")
    make.write("class_names.txt", "__ignore__\n_background_\n" + NAMES)
    make.sets.picture(make.root / "AnnotationsVisualization/0.png", 99)


def labelme2coco(make: ToolExport) -> None:
    make.coco("JPEGImages/{n}.png", "annotations.json", name="JPEGImages/{n}.png")


def supervisely_coco(make: ToolExport) -> None:
    make.coco("ds0/images/{n}.png", "ds0/annotations/instances.json")
    make.write("meta.json", '{"classes": [], "tags": [], "projectType": "images"}')


def cvat_coco_without_subsets(make: ToolExport) -> None:
    make.coco("images/default/{n}.png", "annotations/instances_default.json")


def cvat_voc_without_subsets(make: ToolExport) -> None:
    make.voc("JPEGImages/{n}.png", "Annotations/{n}.xml")
    make.write("ImageSets/Main/default.txt", "".join(f"{n}\n" for n in range(10)))


def fiftyone_yolo_4(make: ToolExport) -> None:
    make.yolo("data/{n}.png", "data/{n}.txt")
    make.write("obj.names", NAMES)
    make.write("images.txt", "".join(f"data/{n}.png\n" for n in range(10)))


def fiftyone_coco_without_splits(make: ToolExport) -> None:
    make.coco("data/{n}.png", "labels.json")


def zipped_with_two_folders_around(make: ToolExport) -> None:
    make.yolo("project/set/images/{n}.png", "project/set/labels/{n}.txt")
    make.write("project/set/classes.txt", NAMES)


WITHOUT_SPLITS = [
    *(label_studio_yolo, label_studio_coco, label_studio_coco_of_windows, label_studio_coco_without_images),
    *(label_studio_voc, labelimg_yolo, labelimg_voc, labelme2voc, labelme2coco, supervisely_coco),
    *(cvat_coco_without_subsets, cvat_voc_without_subsets, fiftyone_yolo_4, fiftyone_coco_without_splits),
    zipped_with_two_folders_around,
]
