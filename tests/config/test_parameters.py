"""The pipeline's parameters: one declaration, from the form on the dashboard to the configuration."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from sightline.config.assignments import keys
from sightline.config.parameters import PipelineParameters, Sets, placeholder_free_json
from sightline.config.presets import PRESETS, resolve
from sightline.errors import ConfigError
from sightline.orchestrate.images import pipeline_file

TYPES = {"STRING": str, "NUMBER_INTEGER": int, "NUMBER_DOUBLE": float}


def test_the_form_is_what_is_declared_and_validate_takes_all_of_it() -> None:
    spec = next(yaml.safe_load_all(pipeline_file().read_text(encoding="utf-8")))
    form = spec["root"]["inputDefinitions"]["parameters"]
    inputs = spec["components"]["comp-validate"]["inputDefinitions"]["parameters"]
    passed = spec["root"]["dag"]["tasks"]["validate"]["inputs"]["parameters"]
    declared = PipelineParameters.model_fields
    for name, field in declared.items():
        shown = form.pop(name)
        assert (TYPES[shown["parameterType"]], shown["defaultValue"]) == (field.annotation, field.default), name
        assert shown["description"] == inputs[name]["description"] == field.description
        assert passed[name] == {"componentInputParameter": name}
    assert form == {}
    assert set(inputs) == set(passed) == set(declared)


def test_every_parameter_that_sets_a_key_sets_one_that_exists() -> None:
    set_keys = [
        sets.key
        for field in PipelineParameters.model_fields.values()
        for sets in field.metadata
        if isinstance(sets, Sets)
    ]
    assert set_keys
    assert len(set_keys) == len(set(set_keys))
    assert set(set_keys) < set(keys())


def test_untouched_pipeline_parameters_leave_the_preset_alone() -> None:
    assert resolve("quickstart", PipelineParameters(gpus="0").values()) == resolve("quickstart", {"train.gpus": 0})


def test_parameters_reach_the_configuration() -> None:
    given = PipelineParameters(
        policy="strict", image_size=96, min_map50=0.5, seed=3, model_name="cells", weights="a.pt"
    )
    config = resolve("fast", given.values())
    assert (config.data.policy.base, config.train.image_size, config.gate.min_map50) == ("strict", 96, 0.5)
    assert (config.train.seed, config.register_.model_name, config.weights.source) == (3, "cells", "a.pt")
    assert config.train.gpus == 1, "the form's own default"


@pytest.mark.parametrize(
    ("data", "preset", "recipe"),
    [("quickstart", "", "quickstart"), ("/mnt/a", "", "balanced"), ("quickstart", "fast", "fast")],
)
def test_data_brings_its_preset_where_none_is_named(data: str, preset: str, recipe: str) -> None:
    assert PipelineParameters(data=data, preset=preset).recipe == recipe
    assert recipe in PRESETS


def test_overrides_win_over_parameters() -> None:
    values = PipelineParameters(gpus="0", epochs=5, overrides='{"train.epochs": 7}').values()
    assert resolve("fast", values).train.epochs == 7


@pytest.mark.parametrize("text", ["{", "[1]", '"x"', '{"train.gpus": 2}'])
def test_overrides_must_be_a_json_object_without_gpus(text: str) -> None:
    with pytest.raises(ConfigError, match="overrides"):
        PipelineParameters(gpus="0", overrides=text).values()


@pytest.mark.parametrize("value", ["it's", 'a "b" c', "a\\b", "{{$.inputs.parameters['data']}}", "{{{{", "\n"])
def test_text_that_looks_like_a_placeholder_passes_as_it_is(value: Any) -> None:
    text = placeholder_free_json({"register.experiment": value})
    assert "{{" not in text
    assert "'" not in text
    assert json.loads(text) == {"register.experiment": value}
