"""What the data gate tolerates: a severity and a budget for each rule, and the thresholds that rules use.

A policy is `strict`, `default` or `lenient`, or a YAML file that starts from one of them:

    base: default
    rules:
      zero-area-box: {severity: error, max_fraction: 0.01}     # up to 1 % of boxes: these boxes are dropped
      near-duplicate: off
    thresholds:
      min_boxes: 50
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from sightline.errors import ConfigError, did_you_mean
from sightline.rules import RULES, Severity

Base = Literal["strict", "default", "lenient"]
BASES: tuple[Base, ...] = ("strict", "default", "lenient")
HARMLESS = (  # what no policy of ours makes an error: it says how a source was read
    *("crowd-region", "mask-ignored", "grouping-class", "pixel-origin", "near-duplicate", "greyscale-image"),
    *("class-imbalance", "few-boxes", "whole-image-box", "many-backgrounds", "data-path", "name-collision", "no-split"),
)
TOLERATED = {"zero-area-box": 0.01}  # of `default`: the share of boxes that is dropped without refusing the set
LENIENT = 0.05  # the share of images or boxes that `lenient` drops, for every error


class Part(BaseModel):
    """A frozen piece of a policy that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Setting(Part):
    """How one rule is taken. With both limits, either refuses the set; without any, one error does."""

    severity: Severity
    max_count: int | None = Field(None, ge=0, description="Errors that are tolerated, their items dropped.")
    max_fraction: float | None = Field(None, ge=0, le=1, description="The same as a share of what the rule looked at.")

    def exceeded(self, count: int, total: int) -> bool:
        """Tell whether `count` errors among `total` items refuse the set."""
        if self.severity != "error" or not count:
            return False
        if self.max_count is None and self.max_fraction is None:
            return True
        too_many = self.max_count is not None and count > self.max_count
        return too_many or (self.max_fraction is not None and count > self.max_fraction * total)


class Thresholds(Part):
    """Numbers that rules compare with."""

    max_megapixels: float = Field(178.0, gt=0, description="huge-image: million pixels; Pillow's own limit.")
    tiny_pixels: float = Field(2.0, ge=0, description="tiny-box: shorter side in pixels at the training size.")
    whole_image: float = Field(0.98, gt=0, le=1, description="whole-image-box: share of width and of height.")
    duplicate_iou: float = Field(0.98, gt=0, le=1, description="duplicate-box: overlap (IoU), same class.")
    conflict_iou: float = Field(0.9, gt=0, le=1, description="conflicting-boxes: overlap (IoU), different classes.")
    near_levels: float = Field(
        12.0, ge=0, le=255, description="leaked-copy, near-duplicate: most difference of a thumbnail's grey level."
    )
    min_boxes: int = Field(10, ge=0, description="few-boxes: fewest train boxes of a class.")
    max_imbalance: float = Field(10.0, ge=1, description="class-imbalance: commonest class over this one, in train.")
    max_backgrounds: float = Field(0.5, ge=0, le=1, description="many-backgrounds: share of train images.")
    decode: bool = Field(True, description="Decode every image; without, damage inside and near copies are not seen.")


def _setting(value: Any) -> Any:
    """Take `off`, which YAML 1.1 reads as False, and a severity alone."""
    if value is False:
        value = "off"
    return {"severity": value} if isinstance(value, str) else value


class Policy(Part):
    """A named policy with changes. `of` answers for every rule."""

    base: Base = Field("default", description="The policy that the rest changes.")
    rules: dict[str, Annotated[Setting, BeforeValidator(_setting)]] = Field(
        {}, description="Severity and budget by rule."
    )
    thresholds: Thresholds = Field(Thresholds(), description="Numbers that rules compare with.")

    @model_validator(mode="after")
    def _known(self) -> Self:
        unknown = [f"unknown rule '{name}'{did_you_mean(name, RULES)}" for name in self.rules if name not in RULES]
        if unknown:
            raise ValueError("; ".join(unknown) + " (`sightline validate --rules` lists them)")
        return self

    def of(self, rule: str) -> Setting:
        """Return the severity and budget of a rule."""
        if rule in self.rules:
            return self.rules[rule]
        severity = RULES[rule].severity
        if self.base == "strict":
            return Setting(severity="warning" if rule in HARMLESS else "error")
        if severity == "error" and self.base == "lenient":
            return Setting(severity="error", max_fraction=LENIENT)
        return Setting(severity=severity, max_fraction=TOLERATED.get(rule) if severity == "error" else None)


def load(value: str) -> dict[str, Any]:
    """Return the policy that `--policy` names, a word or a YAML file, as configuration values.

    Raises ConfigError: neither, not YAML, or a rule or value that does not exist.
    """
    if value in BASES:
        return {"base": value}
    path = Path(value).expanduser()
    if not path.is_file():
        raise ConfigError(
            f"--policy: got '{value}', expected {', '.join(BASES)}, or a YAML file{did_you_mean(value, BASES)}."
        )
    try:
        values = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise ConfigError(f"--policy: {value} is not YAML: {' '.join(str(problem).split())}") from None
    if not isinstance(values, Mapping):
        raise ConfigError(f"--policy: {value} holds no settings; expected base, rules and thresholds.")
    try:
        Policy.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"--policy: {value} is wrong:", [_explain(item) for item in error.errors()]) from None
    return dict(values)


def _explain(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"])
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = "is no setting" + did_you_mean(str(item["loc"][-1]), _names())
    return f"{where}: {message}" if where else message


def _names() -> list[str]:
    return [*Policy.model_fields, *Setting.model_fields, *Thresholds.model_fields]
