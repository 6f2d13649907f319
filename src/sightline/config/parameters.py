"""What a person fills in to start a pipeline, declared once.

The dashboard's form, the inputs of the component validate and the configuration keys behind them are made from
this class (`components/_parameters.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, ValidationError

from sightline.config.assignments import explained
from sightline.config.presets import preset_for
from sightline.config.run_config import Part
from sightline.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Sets:
    """The dotted configuration key that a parameter sets."""

    key: str


class PipelineParameters(Part):
    """The parameters of the pipeline, in the order of its form. KFP has no absent value: 0 and '' stand for it."""

    data: str = Field(
        "quickstart",
        description="Labelled images: an s3:// URI of a folder or archive, or a mounted path. `quickstart` draws a "
        "set.",
    )
    format: Annotated[str, Sets("data.format")] = Field(
        "auto", description="Annotation format: auto, yolo, coco or voc."
    )
    policy: Annotated[str, Sets("data.policy")] = Field(
        "default",
        description="What the data gate tolerates: strict, default or lenient; rule by rule with `data.policy` in "
        "overrides.",
    )
    weights: Annotated[str, Sets("weights.source")] = Field(
        "",
        description="Starting weights: s3:// URI, path, official name (yolo11n.pt) or architecture to train from "
        "scratch (yolo11n.yaml). Empty: the preset's.",
    )
    preset: str = Field(
        "",
        description="Recipe: quickstart, fast, balanced or accurate. Empty: quickstart for the drawn set, balanced for "
        "yours.",
    )
    epochs: Annotated[int, Sets("train.epochs")] = Field(
        0, description="Passes over the training split. 0: the preset's."
    )
    image_size: Annotated[int, Sets("train.image_size")] = Field(
        0, description="Side of the square network input in pixels, a multiple of 32. 0: the preset's."
    )
    batch: Annotated[int, Sets("train.batch")] = Field(0, description="Images per step over all GPUs. 0: the preset's.")
    gpus: str = Field("1", description="GPUs of one node to train on, as a number in quotes. 0 trains on the CPU.")
    model_name: Annotated[str, Sets("register.model_name")] = Field(
        "", description="Name in the model registry. Empty: the preset's."
    )
    min_map50: Annotated[float, Sets("gate.min_map50")] = Field(
        0.0, description="Minimum mAP50 on the test split for registration, 0 to 1. 0: the preset's."
    )
    min_map50_95: Annotated[float, Sets("gate.min_map50_95")] = Field(
        0.0, description="Minimum mAP50-95 on the test split for registration, 0 to 1. 0: the preset's."
    )
    seed: Annotated[int, Sets("train.seed")] = Field(0, description="Seed of weights, order and augmentation.")
    overrides: str = Field(
        "{}",
        description='JSON object of any other configuration key, such as {"train.lr0": 0.001, "gate.min_recall": 0.8}.',
    )

    @classmethod
    def given(cls, values: Mapping[str, Any]) -> PipelineParameters:
        """Read what a person filled in. Raises ConfigError with every unknown name and wrong value at once."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            problems = []
            for item in error.errors():
                name = str(item["loc"][0])
                unknown = f"unknown parameter '{name}'{did_you_mean(name, cls.model_fields)}"
                problems += [unknown] if name not in cls.model_fields else explained(item, cls)
            raise ConfigError("The parameters of the pipeline are wrong:", problems) from None

    @property
    def recipe(self) -> str:
        """The preset, or the data's own where none is named."""
        return self.preset or preset_for(self.data)

    def values(self) -> dict[str, Any]:
        """Return values by their dotted configuration keys; 0 and '' leave a key to the preset, `overrides` win.

        Raises ConfigError if `overrides` is not a JSON object, or sets GPUs: the task requests them by their parameter.
        """
        values: dict[str, Any] = {"train.gpus": self.gpus}
        for name, field in type(self).model_fields.items():
            for sets in field.metadata:
                if isinstance(sets, Sets) and getattr(self, name):
                    values[sets.key] = getattr(self, name)
        return {**values, **self._overrides()}

    def _overrides(self) -> dict[str, Any]:
        expected = 'expected an object such as {"train.lr0": 0.001}.'
        try:
            overrides = json.loads(self.overrides or "{}")
        except ValueError as error:
            raise ConfigError(f"overrides: not JSON ({error}); {expected}") from None
        if not isinstance(overrides, dict):
            raise ConfigError(f"overrides: got {overrides!r}, {expected}")
        if "train.gpus" in overrides:
            raise ConfigError(
                "overrides: got train.gpus; set the parameter gpus, by which the GPUs are also requested."
            )
        return overrides


def placeholder_free_json(value: Any) -> str:
    """Return JSON that the pipeline's runner passes on unchanged: it holds no placeholder and no quote."""
    text = json.dumps(value)
    return text.replace("{{", "{\\u007b").replace("'", "\\u0027")
