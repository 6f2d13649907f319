"""Formats that are not read are named, with what to export instead."""

from __future__ import annotations

import json

import pytest

from tests.helpers.reading import problem, problem_of_file
from tests.helpers.tool_exports import ToolExport

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
def test_what_is_no_yolo_coco_or_voc_is_named_with_what_to_export_instead(make: ToolExport, tool: str):
    name, content, words = FOREIGN[tool]
    make.sets.picture(make.root / "images/a.jpg", 1)
    make.write(name, content if isinstance(content, str) else json.dumps(content))
    message = problem(make.root)
    for word in (*words, name, "which is not read"):
        assert word in message
    if tool in ("labelme", "cvat", "coco-result"):
        assert words[0] in problem_of_file(make.root / name)
