"""What the entries of a COCO file say, and what is wrong with them: rows for `coco_table`."""

from __future__ import annotations

import json
import math
from typing import Any

from sightline.datasets.formats.coco.json_stream import Record
from sightline.datasets.formats.files import FAR, short
from sightline.datasets.types import Edges

SCORES = ("score", "confidence")
CROWD, NO_CROWD = (1, "1", "true", "True"), (0, None, "", "0", "false", "False")  # True is 1 as well
ODD = "\x7f"  # before an id that SQLite does not keep as it is: NaN, which is equal to no id, and huge numbers


class Scores:
    """Tells predictions from labels: all have a score, and at least half of the scores are no mere flag.

    Some tools write a score of 1, 0 or null beside what people labelled; a detector is never that sure of half its
    boxes.
    """

    def __init__(self) -> None:
        self.boxes = self.scored = self.unsure = 0
        self.low, self.high = math.inf, -math.inf

    def add(self, record: Record) -> None:
        """Count an annotation."""
        self.boxes += 1
        score = next((value for key in SCORES if type(value := record.get(key)) in (int, float)), None)
        if score is None or not math.isfinite(score):
            return
        self.scored += 1
        self.unsure += 0 < score < 1 or (1 < score < 100 and score % 1 != 0)  # percents, too
        self.low, self.high = min(self.low, score), max(self.high, score)

    @property
    def predictions(self) -> bool:
        """Tell whether all annotations are predictions."""
        return 0 < self.boxes == self.scored and 2 * self.unsure >= self.boxes


def identity(value: Any) -> Any:
    """Return an id that can be compared; SQLite tells 1 from "1", and keeps whole numbers of 64 bits."""
    if type(value) is int and not -(2**63) <= value < 2**63:
        return f"{ODD}{value}"
    return value if type(value) in (int, str, float) else None


def image_row(record: Record) -> tuple[Any, ...]:
    """Return id, name, width and height, each None where it cannot be used, and which side is no finite number."""
    name = record.get("file_name")
    usable = isinstance(name, str) and name
    sides = (record.get("width"), record.get("height"))
    return (identity(record.get("id")), name if usable else None, *map(_side, sides), _endless(sides))


def _endless(sides: tuple[Any, Any]) -> str | None:
    """Return a width or height that is NaN or Infinity, in words; 0 and null stand for one that is not known."""
    names = zip(("width", "height"), sides, strict=True)
    wrong = (f"{name} {json.dumps(side)}" for name, side in names if type(side) is float and not math.isfinite(side))
    return " and ".join(wrong) or None


def _side(value: Any) -> int | None:
    """Return a width or height; whole numbers come as 640.0 and "640" too."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if type(value) in (int, float) and 0 < value < 2**31 and value == int(value):
        return int(value)
    return None


def annotation_row(record: Record) -> tuple[Any, ...]:
    """Return id, image, category, edges, area, and the rule that is broken with a message."""
    ids = (identity(record.get("id")), _named(record.get("image_id")), _named(record.get("category_id")))
    bbox = record.get("bbox")
    edges = _edges(bbox)
    if (crowd := record.get("iscrowd")) not in NO_CROWD:
        message = f"has iscrowd {short(json.dumps(crowd), 60)}; expected 0 or 1"
        return (*ids, *(None,) * 5, "label-syntax", message)
    if edges:
        return (*ids, *edges, _finite(record.get("area")), None, "")
    got = f"has the bbox {short(json.dumps(bbox), 60)}"
    if not bbox and has_mask(record):
        task = "keypoints" if record.get("keypoints") else "a segmentation"
        return (*ids, *(None,) * 5, "wrong-task", f"has {task} and no bbox; expected [x, y, width, height]")
    if isinstance(bbox, list) and len(bbox) == 5:
        return (*ids, *(None,) * 5, "wrong-task", f"{got}, an oriented box; expected [x, y, width, height]")
    if isinstance(bbox, list) and len(bbox) == 4 and all(type(v) in (int, float) for v in bbox):
        wrong = "of negative or endless size" if all(map(math.isfinite, bbox)) else "which are not all finite numbers"
        return (*ids, *(None,) * 5, "label-syntax", f"{got}, {wrong}; expected [x, y, width, height] in pixels")
    if isinstance(bbox, list) and len(bbox) == 4 and all(map(_is_written_number, bbox)):
        message = f"{got}, whose numbers are texts; expected [x, y, width, height] without quotes"
        return (*ids, *(None,) * 5, "label-syntax", message)
    return (*ids, *(None,) * 5, "label-syntax", f"{got}, expected [x, y, width, height]")


def _is_written_number(value: Any) -> bool:
    if type(value) is not str:
        return type(value) in (int, float)
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False


def _named(value: Any) -> Any:
    """Return what an annotation refers to."""
    return ODD + "NaN" if isinstance(value, float) and math.isnan(value) else identity(value)


def shown_id(value: Any) -> str:
    """Return an id as its file has it."""
    return value[1:] if isinstance(value, str) and value.startswith(ODD) else json.dumps(value)


def _finite(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and abs(value) < FAR else None


def _edges(bbox: Any) -> Edges | None:
    if type(bbox) is not list or len(bbox) != 4 or not all(type(value) in (int, float) for value in bbox):
        return None
    x, y, w, h = bbox
    if not (-FAR < x < FAR and -FAR < y < FAR and 0 <= w < FAR and 0 <= h < FAR):
        return None
    return float(x), float(y), float(x + w), float(y + h)


def has_mask(record: Record) -> bool:
    """Tell an annotation that has more than a box."""
    return bool(record.get("segmentation") or record.get("keypoints"))
