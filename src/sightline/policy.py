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
from os.path import expanduser, isfile
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from sightline import expected, strict_yaml
from sightline.errors import ConfigError, did_you_mean, shortened
from sightline.rules import RULES, Severity

Base = Literal["strict", "default", "lenient"]
BASES: tuple[Base, ...] = ("strict", "default", "lenient")
LENIENT = 0.05  # the share of images or boxes that `lenient` drops, for every error that counts them
MAX_BYTES = 1 << 20  # of a policy file
EXPECTED = {  # by place in a policy
    (): "strict, default, lenient, or an object with base, rules and thresholds",
    ("base",): "strict, default or lenient",
    ("rules",): "an object: a setting for each rule's name",
    ("thresholds",): "an object: a value for each threshold's name",
}
SETTING_FORM = "error, warning, off, or {severity, max_count, max_fraction}"


class Part(BaseModel):
    """A frozen piece of a policy that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Setting(Part):
    """Severity and budget of one rule.

    Without a limit, one error rejects the data. With both limits, exceeding either of them does.
    """

    severity: Severity
    max_count: int | None = Field(None, ge=0, description="Errors that are tolerated; what they are about is dropped.")
    max_fraction: float | None = Field(None, ge=0, le=1, description="The same as a share of what the rule checked.")

    @model_validator(mode="after")
    def _budget_of_errors(self) -> Self:
        if self.severity != "error" and self.limited:
            raise ValueError(f"a budget is for errors; leave max_count and max_fraction out of '{self.severity}'")
        return self

    @property
    def limited(self) -> bool:
        """Tell whether some errors are tolerated."""
        return self.max_count is not None or self.max_fraction is not None

    def exceeded(self, count: int, total: int) -> bool:
        """Tell whether `count` errors among `total` images or boxes reject the data."""
        if self.severity != "error" or not count:
            return False
        if not self.limited:
            return True
        too_many = self.max_count is not None and count > self.max_count
        # 1e-9 allows for rounding: 0.29 * 100 is a little less than 29.
        return too_many or (self.max_fraction is not None and count > self.max_fraction * total + 1e-9)


class Thresholds(Part):
    """Numbers that rules compare with; each description names the rules that use it."""

    max_megapixels: float = Field(178.0, gt=0, description="huge-image: million pixels; Pillow's own limit.")
    tiny_pixels: float = Field(2.0, ge=0, description="tiny-box: shorter side in pixels at the training size.")
    whole_image: float = Field(0.98, gt=0, le=1, description="whole-image-box: share of width and of height.")
    duplicate_iou: float = Field(0.98, gt=0, le=1, description="duplicate-box: overlap (IoU), same class.")
    conflict_iou: float = Field(0.9, gt=0, le=1, description="conflicting-boxes: overlap (IoU), different classes.")
    near_levels: float = Field(
        12.0,
        ge=0,
        le=255,
        description="leaked-copy, near-duplicate: largest difference in grey level between thumbnails.",
    )
    min_boxes: int = Field(10, ge=0, description="few-boxes: fewest train boxes that a class should have.")
    max_imbalance: float = Field(
        10.0, ge=1, description="class-imbalance: boxes of the most common class over those of this one, in train."
    )
    max_backgrounds: float = Field(0.5, ge=0, le=1, description="many-backgrounds: share of train images.")
    decode: bool = Field(
        True, description="Decode every image; otherwise damage inside images and near-duplicates are not found."
    )


def _setting(value: Any) -> Any:
    """Accept the short forms of a setting: a severity alone, a budget alone (of errors), `off` (False in YAML 1.1)."""
    if value is False:
        return {"severity": "off"}
    if isinstance(value, dict) and value:
        severity = value.get("severity", "error")
        return {**value, "severity": "off" if severity is False else severity}
    return {"severity": value} if isinstance(value, str) else value


class Policy(Part):
    """A base policy with changes to rules and thresholds."""

    base: Base = Field("default", description="The policy to start from.")
    rules: dict[str, Annotated[Setting, BeforeValidator(_setting)]] = Field(
        {}, description="Severity and budget by rule."
    )
    thresholds: Thresholds = Field(Thresholds(), description="Numbers that rules compare with.")

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        mistakes = [mistake for name, setting in self.rules.items() if (mistake := _mistake(name, setting))]
        if mistakes:
            raise ValueError("\n".join(mistakes))
        return self

    def setting(self, rule: str) -> Setting:
        """Return the severity and budget of a rule, from its own setting or else from the base policy."""
        if rule in self.rules:
            return self.rules[rule]
        known = RULES[rule]
        if self.base == "strict":
            return Setting(severity=known.strict)
        if known.severity == "error" and self.base == "lenient":
            return Setting(severity="error", max_fraction=LENIENT if known.budget_unit else None)
        return Setting(severity=known.severity, max_fraction=known.tolerated)


def _mistake(name: str, setting: Setting) -> str | None:
    """Return what is wrong with the setting of a rule; None for nothing."""
    rule = RULES.get(name)
    if rule is None:
        return f"unknown rule {name!r}{did_you_mean(name, RULES)} (`sightline validate --rules` lists them)"
    if setting.severity == "off" and rule.removes:
        return f"{name} cannot be off: what it finds is left out anyway; expected error or warning"
    if setting.limited and not rule.budget_unit:
        return f"{name} has no budget: it is about the whole set and counts no images; expected a severity alone"
    return None


def load(value: str) -> dict[str, Any]:
    """Return the policy that `--policy` names, a base policy or a YAML file, as configuration values.

    Raises ConfigError for an unknown name, a file that is too large or not YAML, and unknown rules or wrong values.
    """
    if value in BASES:
        return {"base": value}
    path = Path(expanduser(value))  # noqa: PTH111 - Path's raises for a user that does not exist
    if not isfile(path):  # noqa: PTH113 - Path's raises for a name that is too long
        raise ConfigError(
            f"--policy: got '{shortened(value)}', expected {', '.join(BASES)}, or a YAML file"
            f"{did_you_mean(value, BASES) or '.'}"
        )
    if path.stat().st_size > MAX_BYTES:
        raise ConfigError(f"--policy: {value} has {path.stat().st_size} bytes, expected at most {MAX_BYTES}.")
    try:
        values = strict_yaml.parse(path.read_bytes())
    except ValueError as problem:
        raise ConfigError(f"--policy: {value} cannot be read: {problem}.") from None
    if not isinstance(values, dict):
        raise ConfigError(f"--policy: {value} holds no settings; expected base, rules and thresholds.")
    try:
        Policy.model_validate(values)
    except ValidationError as error:
        problems = [line for item in error.errors() for line in explain(item)]
        raise ConfigError(f"--policy: {value} is wrong:", problems) from None
    return values


def explain(item: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> list[str]:
    """Return messages for one of pydantic's errors about a policy.

    `item` is an element of `ValidationError.errors()`; `prefix` is the place of the policy in the configuration.
    """
    place = tuple(str(part) for part in item["loc"][len(prefix) :])
    where = ".".join((*prefix, *place)) or "policy"
    if item["type"] == "value_error":
        lines = str(item["ctx"]["error"]).split("\n")
        return [f"{where}: {line}" if place or prefix else line for line in lines]
    if place[-1:] == ("[key]",):
        return [f"{where.removesuffix('.[key]')}: unknown rule (`sightline validate --rules` lists them)"]
    if item["type"] in ("extra_forbidden", "invalid_key"):
        return [f"{where}: is not a setting{did_you_mean(place[-1], _names(place))}"]
    if place[:1] == ("rules",) and len(place) > 1 and place[2:] in ((), ("severity",)):
        return [f"{where.removesuffix('.severity')}: got {expected.shown(item['input'])}, expected {SETTING_FORM}"]
    part: type[Part] = Thresholds if place[:1] == ("thresholds",) else Setting
    wanted = EXPECTED.get(place) or expected.describe(part, place[-1])
    return [f"{where}: got {expected.shown(item['input'])}, expected {wanted}"]


def _names(place: tuple[str, ...]) -> list[str]:
    """Return the names of the settings that exist at a place."""
    if len(place) == 1:
        return list(Policy.model_fields)
    return list(Thresholds.model_fields if len(place) == 2 else Setting.model_fields)
