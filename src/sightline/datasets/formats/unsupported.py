"""Recognises what labelling tools write and nothing here reads, so that a message can say what to export instead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sightline.datasets.formats.coco.json_stream import LISTS
from sightline.datasets.formats.files import mentions, some
from sightline.datasets.formats.yolo import darknet
from sightline.datasets.types import Folder, folders
from sightline.errors import DataError

DEPTH = 3  # folders below the source
PROBED = 3  # files of a kind in a folder that are looked into
HEAD = 2**16  # bytes that are looked at where the first lines tell


class Kind(NamedTuple):
    """What a tool writes: words that are all in it (for JSON, its keys), and what to choose in its place."""

    tool: str
    words: tuple[str, ...]
    instead: str


CHOOSE = "choose a YOLO, COCO or Pascal VOC export"
JSON = (  # the first that fits; a file without its words is none of them
    Kind(
        "labelme's own JSON, a file an image", ("shapes", "imagePath"),
        "convert it with labelme's example labelme2voc.py (bbox_detection), or with labelme2coco or labelme2yolo",
    ),
    Kind(
        "Supervisely's own JSON, a file an image", ("objects", "tags", "size"),
        "export the project with the app for YOLO, COCO or Pascal VOC",
    ),
    Kind("Supervisely's own JSON", ("classes", "tags", "projectType"), "export it as YOLO, COCO or Pascal VOC"),
    Kind(
        "Label Studio's own JSON", ("result", "from_name"),
        "export it as YOLO with Images, COCO with Images, or Pascal VOC XML",
    ),
    Kind(
        "Label Studio's JSON-MIN", ("annotation_id", "annotator"),
        "export it as YOLO with Images, COCO with Images, or Pascal VOC XML",
    ),
    Kind(
        "Datumaro's own JSON", ("items", "categories", "infos"),
        "convert it: datum convert -f coco_instances (or yolo, voc_detection) -- --save-media",
    ),
    Kind(
        "FiftyOne's own JSON", ("samples", "filepath"),
        "export it with dataset_type fiftyone.types.YOLOv5Dataset, COCODetectionDataset or VOCDetectionDataset",
    ),
    Kind(
        "FiftyOne's image detection JSON", ("classes", "labels", "bounding_box"),
        "export it with dataset_type fiftyone.types.YOLOv5Dataset, COCODetectionDataset or VOCDetectionDataset",
    ),
    Kind(
        "Create ML's JSON (as Roboflow and labelImg write it, too)", ("annotations", "coordinates", "label"),
        f"{CHOOSE}; in labelImg, switch from CreateML to YOLO or PascalVOC",
    ),
    Kind("VGG Image Annotator's JSON", ("regions", "shape_attributes"), "export it as COCO"),
    Kind(
        "a COCO result: predictions without images", ("image_id", "category_id", "score"),
        "name the file of the annotations themselves, with images, annotations and categories",
    ),
)  # fmt: skip
CVAT = Kind(
    "CVAT's own XML (CVAT for images or video)", (),
    "export it as Ultralytics YOLO Detection, COCO or PASCAL VOC, with images",
)  # fmt: skip
CSV = Kind("a CSV table of boxes", (), CHOOSE)
OTHERS = {
    ".tfrecord": Kind("TFRecord", (), CHOOSE),
    ".record": Kind("TFRecord", (), CHOOSE),
    ".jsonl": Kind("JSON Lines (as for vision language models)", (), CHOOSE),
    ".ndjson": Kind("JSON Lines", (), CHOOSE),
    ".parquet": Kind("Parquet (as on Hugging Face)", (), "write the images and boxes as YOLO, COCO or Pascal VOC"),
    ".arrow": Kind("Arrow (as on Hugging Face)", (), "write the images and boxes as YOLO, COCO or Pascal VOC"),
}
TABLE = re.compile(rb"(?i)(xmin|x1|bbox|region_shape_attributes|annotation|class)")
KERAS = re.compile(rb"\S+\.(?:jpe?g|png|bmp) +\d+,\d+,\d+,\d+,\d+", re.IGNORECASE)
KITTI = re.compile(rb"[A-Za-z_]\S*( -?\d+(\.\d+)?){14,15}\s")


def explain(folder: Folder, files: list[Path] | None = None) -> None:
    """Raise DataError for the first file of a known kind that is not read here; `files` are all that is looked at."""
    for path in files or _probed(folder.root):
        kind = _kind(path) if folder.allows(path) else None
        if kind:
            where = "" if files else f": {folder.relative(path)}"
            raise DataError(
                f"{folder.name} holds {kind.tool}{where}, which is not read. Expected YOLO, COCO JSON or Pascal VOC "
                f"boxes: {kind.instead}."
            )


def _probed(root: Path) -> Iterator[Path]:
    for folder in folders(root, DEPTH):
        for suffixes in ((".json",), (".xml",), (".csv",), (".txt",), tuple(OTHERS)):
            yield from map(Path, sorted(some(folder, suffixes, PROBED)))


def _kind(path: Path) -> Kind | None:
    suffix = path.suffix.lower()
    if suffix == ".json":
        return _json_kind(path)
    if suffix in OTHERS:
        return OTHERS[suffix]
    with path.open("rb") as file:
        head = file.read(HEAD)
    if suffix == ".xml":
        return CVAT if re.search(rb"<annotations[\s>]", head.replace(b"\0", b"")) else None
    first = head.partition(b"\n")[0]
    if suffix == ".csv":
        return CSV if TABLE.search(first) else None
    if KERAS.match(head):
        return Kind("a list of images and boxes (as for Keras or YOLOv4 PyTorch)", (), CHOOSE)
    return Kind("KITTI labels", (), CHOOSE) if KITTI.match(first + b"\n") else None


def _json_kind(path: Path) -> Kind | None:
    wanted = {f'"{word}"'.encode() for kind in JSON for word in kind.words}
    found = {word.decode()[1:-1] for word in mentions(path, tuple(wanted | {f'"{name}"'.encode() for name in LISTS}))}
    return next((kind for kind in JSON if found.issuperset(kind.words)), None)


def nameless(folder: Folder) -> None:
    """Raise DataError if there are YOLO labels and only the names of the classes are missing."""
    labels = {
        place: label
        for place in folders(folder.root, DEPTH)
        if (label := next(filter(darknet.is_any_label, some(place, (".txt",), darknet.PROBED)), None))
    }
    if not labels:
        return
    numbers = sorted(set[int]().union(*(darknet.classes_in(place) for place in labels)))
    shown = ", ".join(map(str, numbers[:20])) + ", …" * (len(numbers) > 20)
    raise DataError(
        f"{folder.name} holds YOLO labels ({folder.relative(next(iter(labels.values())))}), and no class names: all "
        f"that is missing is a data.yaml (`train: <folder of images>`, `names: [first, second]`) or a classes.txt, a "
        f"name a line. The class numbers in the labels that were looked at are {shown}."
    )
