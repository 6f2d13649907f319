"""What a setting is called elsewhere: in the engine, and in YOLOv5, whose names many people still know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sightline.config.part import Part


@dataclass(frozen=True)
class Elsewhere:
    """The other names of a setting; '' where there is none."""

    engine: str = ""  # argument of Ultralytics
    yolov5: str = ""  # option of YOLOv5's train.py, or hyperparameter of its --hyp file
    handed_on: bool = True  # whether the engine gets the value, rather than code of ours that stands in for its own


def settings(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, type[BaseModel], str, FieldInfo, Elsewhere]]:
    """Yield dotted key, model, field name, field and other names of every setting, those of parts too."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Part):
            yield from settings(kind, f"{prefix}{name}.")
            continue
        names = next((item for item in field.metadata if isinstance(item, Elsewhere)), Elsewhere())
        yield prefix + name, model, name, field, names


def handed_on(part: BaseModel) -> dict[str, Any]:
    """Return the values that the engine gets, by its names."""
    values: dict[str, Any] = {}
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        if isinstance(value, Part):
            values |= handed_on(value)
        for item in field.metadata:
            if isinstance(item, Elsewhere) and item.engine and item.handed_on:
                values[item.engine] = value
    return values


def ours(model: type[BaseModel], prefix: str, *, yolov5: bool = False) -> dict[str, str]:
    """Return our dotted keys by the engine's names, with `yolov5` also by those of YOLOv5."""
    found: dict[str, str] = {}
    for key, _, _, _, names in settings(model, prefix):
        if yolov5 and names.yolov5:
            found[names.yolov5.replace("-", "_")] = key
    for key, _, _, _, names in settings(model, prefix):
        if names.engine:
            found[names.engine] = key
    return found
