"""A file of settings below the parameters of the pipeline's form, as `sightline submit --config` sends both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sightline.config.form_values import AUTO, Sets
from sightline.config.parameters import PipelineParameters, placeholder_free_json
from sightline.config.settings_file import Settings, joined

GPUS = ("train.gpus", "train_gpus")  # by which GPUs are also requested, so that it is no override


def parameters(given: Mapping[str, str], file: Settings) -> dict[str, str]:
    """Return the form's parameters: those that were given, and below them what the file says.

    A key for which the form has a parameter becomes that parameter, any other one an override. Raises ConfigError where
    the file and the parameter `preset` name different presets.
    """
    form = {sets.key: name for name, sets in _sets()} | dict([GPUS])
    found, overrides = dict(given), dict[str, Any]()
    preset = joined(None if given.get("preset", AUTO) == AUTO else given["preset"], file, AUTO)
    if preset != AUTO:
        found["preset"] = preset
    for key, value in file.values.items():
        name = form.get(key)
        if name is None or value is None or isinstance(value, bool | dict | list):
            overrides[key] = value
        else:
            found.setdefault(name, str(value))
    for name, sets in _sets():
        if name in given:
            overrides.pop(sets.key, None)
    if overrides and (more := _object(given.get("overrides", "{}"))) is not None:
        found["overrides"] = placeholder_free_json({**overrides, **more})
    return found


def _sets() -> list[tuple[str, Sets]]:
    """Return the form's parameters that set a key, with what they set."""
    fields = PipelineParameters.model_fields.items()
    return [(name, item) for name, field in fields for item in field.metadata if isinstance(item, Sets)]


def _object(text: str) -> dict[str, Any] | None:
    """Return a JSON object; None for what the form refuses as overrides."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
