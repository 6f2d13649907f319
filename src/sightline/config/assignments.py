"""Values by their dotted keys (`train.epochs`): read from text, put into a configuration, or refused with reasons."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from sightline import expected, strict_yaml
from sightline.config import engine_settings
from sightline.config.consequences import chosen_by_auto, without_mixes
from sightline.config.elsewhere import ours
from sightline.config.part import Part
from sightline.config.run_config import RunConfig
from sightline.config.sizing import note_given
from sightline.config.train_config import NOTED, TrainConfig
from sightline.errors import ConfigError, did_you_mean
from sightline.policy import explain

POLICY = ("data", "policy")
ENGINE = "train.engine."  # and a name of the engine: one of its settings
TEXTS: tuple[Any, ...] = (str, str | None)  # types of keys whose values are text, whatever YAML would make of it


def keys(types: tuple[Any, ...] = (), model: type[BaseModel] = RunConfig, prefix: str = "") -> Iterator[str]:
    """Yield every dotted key that `--set` and `overrides` accept, or those of some types."""
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Part):
            yield from keys(types, field.annotation, f"{key}.")
        elif key not in ("preset", f"train.{NOTED}") and (not types or field.annotation in types):
            yield key


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """Turn `["train.epochs=10"]` into `{"train.epochs": 10}`; values are YAML: scalars, or an object for data.policy.

    A text key takes its value as written, such as 2026-11-21 or 007; quotes around it are YAML's.

    Raises ConfigError with every malformed assignment at once.
    """
    values: dict[str, Any] = {}
    problems = []
    for text in assignments:
        key, separator, value = text.partition("=")
        if not separator or not key.strip():
            problems.append(f"got '{text}', expected key=value, such as train.epochs=10")
            continue
        try:
            name, bare = key.strip(), value.strip()
            values[name] = bare if _is_bare_text(name, bare) else strict_yaml.parse(value)
        except ValueError as problem:
            shown = text if len(text) <= 80 else f"{text[:80]}…"
            problems.append(f"the value of '{shown}' cannot be read: {problem}")
    if problems:
        raise ConfigError("Some --set options cannot be read:", problems)
    return values


def _is_bare_text(key: str, value: str) -> bool:
    if not value:  # a key that may be null gets null; another gets an empty text, which it refuses
        return key in keys((str,))
    return key in keys(TEXTS) and value[0] not in "'\"" and value not in ("null", "~")


def apply(base: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """Return `base` with dotted keys replaced; every unknown key and bad value is reported at once.

    Raises ConfigError.
    """
    tree = base.model_dump(by_alias=True)
    known = list(keys())
    problems = []
    for key, value in values.items():
        if key.startswith(ENGINE):
            engine = tree["train"]["engine"]
            if isinstance(engine, dict):  # else that is refused
                tree["train"]["engine"] = {**engine, key.removeprefix(ENGINE): value}
            continue
        if key not in known:
            problems.append(_unknown(key, known))
            continue
        *parents, leaf = key.split(".")
        node = tree
        for parent in parents:
            node = node[parent]
        node[leaf] = value
    problems += chosen_by_auto(tree["train"], values)
    without_mixes(tree["train"], values)
    note_given(tree["train"], values)
    try:
        config = RunConfig.model_validate(tree)
    except ValidationError as error:
        problems += [line for item in error.errors() for line in explained(item)]
    if problems:
        raise ConfigError("The configuration is wrong (`sightline config` lists every key):", problems)
    return config


def _unknown(key: str, known: list[str]) -> str:
    """Say that there is no such key, and what of ours a name of the engine or of YOLOv5 stands for, or why nothing."""
    name = key.rpartition(".")[2].replace("-", "_")
    if key.startswith("train."):
        if other := ours(TrainConfig, "train.", yolov5=True).get(name):
            return f"unknown key '{key}'; did you mean '{other}'?"
        if name in engine_settings.TAKEN:
            return f"unknown key '{key}'; did you mean '{ENGINE}{name}'?"
        if why := engine_settings.reason(name):
            return f"unknown key '{key}': {why}"
    return f"unknown key '{key}'{did_you_mean(key, known)}"


def applicable(base: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """Return `base` with the valid ones of `values`, so that the rest of a wrong configuration can still be checked."""
    config, taken = base, dict[str, Any]()
    for key, value in values.items():
        try:
            config = apply(base, {**taken, key: value})
        except ConfigError:
            continue
        taken[key] = value
    return config


def explained(item: Mapping[str, Any], whole: type[BaseModel] = RunConfig) -> list[str]:
    """Return one pydantic error of a model, by default the configuration, as 'key: got X, expected …'."""
    if item["loc"][:2] == POLICY:
        return explain(item, POLICY)
    key = ".".join(str(part) for part in item["loc"])
    if item["type"] == "value_error":
        return [f"{key}: {line}" for line in item["msg"].removeprefix("Value error, ").splitlines()]
    model: Any = whole
    for part in item["loc"][:-1]:
        model = next(field.annotation for name, field in model.model_fields.items() if part in (name, field.alias))
    return [f"{key}: got {expected.shown(item['input'])}, expected {expected.describe(model, item['loc'][-1])}"]


def flat(config: RunConfig) -> dict[str, Any]:
    """Return the configuration with one dotted key per value, as `--set` knows it."""

    def walk(node: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in node.items():
            values |= walk(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        return values

    found = walk(json.loads(config.json_text()), "")
    del found[f"train.{NOTED}"]
    return found
