"""The pipeline's parameters: one declaration, from the form on the dashboard to the configuration."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from sightline.config.assignments import keys
from sightline.config.form_values import Sets
from sightline.config.parameters import PipelineParameters, choices, placeholder_free_json
from sightline.config.presets import PRESETS, resolve
from sightline.errors import ConfigError
from sightline.orchestrate.images import pipeline_file


def test_the_form_is_what_is_declared_and_validate_takes_all_of_it() -> None:
    spec = next(yaml.safe_load_all(pipeline_file().read_text(encoding="utf-8")))
    form = spec["root"]["inputDefinitions"]["parameters"]
    inputs = spec["components"]["comp-validate"]["inputDefinitions"]["parameters"]
    run = spec["root"]["dag"]["tasks"]["exit-handler-1"]["inputs"]["parameters"]
    passed = spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]["validate"]["inputs"]["parameters"]
    declared = PipelineParameters.model_fields
    for name, field in declared.items():
        shown = form.pop(name)
        assert (shown["parameterType"], shown["defaultValue"]) == ("STRING", field.default), name
        assert shown["description"] == inputs[name]["description"] == field.description
        assert passed[name] == {"componentInputParameter": f"pipelinechannel--{name}"}
        assert run[f"pipelinechannel--{name}"] == {"componentInputParameter": name}
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
    assert resolve("quickstart", PipelineParameters().values()) == resolve("quickstart", {})
    emptied = dict.fromkeys(PipelineParameters.model_fields, "") | {"data": "quickstart"}
    assert PipelineParameters(**emptied) == PipelineParameters()


def test_parameters_reach_the_configuration() -> None:
    given = PipelineParameters(
        data_policy="strict",
        train_image_size="96",
        gate_min_map50="0.5",
        train_seed="3",
        train_gpus="1",
        register_model_name="cells",
        register_alias="champion",
        sample_pictures="s3://b/p",
        retrain="changed",
        train_weights="a.pt",
    )
    config = resolve("fast", given.values())
    assert (config.data.policy.base, config.train.image_size, config.gate.min_map50) == ("strict", 96, 0.5)
    assert (config.train.seed, config.register_.model_name, config.weights.source) == (3, "cells", "a.pt")
    assert (config.train.gpus, config.register_.alias, config.sample.pictures) == (1, "champion", "s3://b/p")
    assert config.retrain.when == "changed"


def test_numbers_mean_what_their_text_means() -> None:
    numbers = {"train_epochs": 20, "gate_min_map50": 0.5, "train_cpu": 4, "train_gpus": 2.0, "register_model_name": 7}
    texts = {
        "train_epochs": "20",
        "gate_min_map50": "0.5",
        "train_cpu": "4",
        "train_gpus": "2",
        "register_model_name": "7",
    }
    assert PipelineParameters.given(numbers) == PipelineParameters.given(texts)


def test_every_choice_is_one_that_the_configuration_takes_and_the_default_is_among_them() -> None:
    assert set(choices()) == {"data_format", "data_policy", "gpu_tier", "preset", "retrain"}
    for name, values in choices().items():
        assert PipelineParameters.model_fields[name].default in values
        for value in values:
            given = PipelineParameters(**{name: value})
            resolve(given.recipe, given.values())


LOST_NODE = [
    {"key": f"node.kubernetes.io/{name}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}
    for name in ("not-ready", "unreachable")
]
NVIDIA = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("gpus", "tolerations", "used"),
    [
        ("0", "auto", []),
        ("2", "auto", [NVIDIA]),
        ("2", "[]", []),
        ("0", '[{"key": "team", "value": "a"}]', [{"key": "team", "value": "a"}]),
        (
            "1",
            '[{"key": "spot", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}]',
            [{"key": "spot", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}],
        ),
    ],
)
def test_tolerations_are_those_given_or_the_usual_one_for_gpus(
    gpus: str, tolerations: str, used: list[dict[str, Any]]
) -> None:
    found = PipelineParameters(train_gpus=gpus, train_tolerations=tolerations).tolerations()
    assert [item for item in found if item not in LOST_NODE] == used
    assert found == [*used, *LOST_NODE]


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"operator": "Exists"}, []),
        ({"operator": "Exists", "effect": "NoSchedule"}, LOST_NODE),
        ({"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 600}, LOST_NODE[:1]),
    ],
    ids=["everything", "another effect", "one of the two"],
)
def test_a_lost_node_is_left_after_a_minute_unless_a_toleration_given_bears_it(
    given: dict[str, Any], left: list[dict[str, Any]]
) -> None:
    if "tolerationSeconds" in given:
        given = {**given, "effect": "NoExecute"}
    found = PipelineParameters(train_tolerations=json.dumps([given])).tolerations()
    assert found == [given, *left]


def test_the_node_selector_is_the_one_given() -> None:
    assert PipelineParameters().node_selector() == {}
    labels = {"cloud.example/gpu": "a100", "empty": ""}
    assert PipelineParameters(train_node_selector=json.dumps(labels)).node_selector() == labels


def test_real_data_without_a_gpu_is_allowed_and_said() -> None:
    on_gpu = {"data": "s3://b/c", "train_gpus": "1"}
    asked = PipelineParameters(**on_gpu, train_cpu="8", train_memory="32Gi")
    assert PipelineParameters().warnings() == asked.warnings() == []
    assert [line.split()[0] for line in PipelineParameters(**on_gpu).warnings()] == ["train_cpu", "train_memory"]
    (line,) = PipelineParameters(data="s3://b/c").warnings()
    assert "train_gpus is 0: balanced would train on 1 CPU" in line


@pytest.mark.parametrize(
    ("data", "preset", "recipe"),
    [("quickstart", "auto", "quickstart"), ("/mnt/a", "auto", "balanced"), ("quickstart", "fast", "fast")],
)
def test_data_brings_its_preset_where_none_is_named(data: str, preset: str, recipe: str) -> None:
    assert PipelineParameters(data=data, preset=preset).recipe == recipe
    assert recipe in PRESETS


def test_overrides_win_over_parameters() -> None:
    values = PipelineParameters(train_epochs="5", overrides='{"train.epochs": 7}').values()
    assert resolve("fast", values).train.epochs == 7


@pytest.mark.parametrize("text", ["{", "[1]", '"x"', '{"train.gpus": 2}'])
def test_overrides_must_be_a_json_object_without_gpus(text: str) -> None:
    with pytest.raises(ConfigError, match="overrides"):
        PipelineParameters.given({"overrides": text})


@pytest.mark.parametrize("value", ["it's", 'a "b" c', "a\\b", "{{$.inputs.parameters['data']}}", "{{{{", "\n"])
def test_text_that_looks_like_a_placeholder_passes_as_it_is(value: Any) -> None:
    text = placeholder_free_json({"register.experiment": value})
    assert "{{" not in text
    assert "'" not in text
    assert json.loads(text) == {"register.experiment": value}


@pytest.mark.parametrize(
    ("given", "totals"),
    [
        ({}, "1 CPU, 3Gi"),
        ({"train_gpus": "4", "train_cpu": "16", "train_memory": "64Gi"}, "4 GPUs, 16 CPUs, 64Gi"),
        (
            {"train_nodes": "2", "train_gpus": "4", "train_cpu": "8", "train_memory": "32Gi"},
            "2 nodes × 4 GPUs = 8 GPUs, 16 CPUs, 64Gi",
        ),
        ({"train_nodes": "3", "train_cpu": "500m", "train_memory": "1.5Gi"}, "3 nodes, together 1.5 CPUs, 4.5Gi"),
        ({"overrides": '{"train.nodes": 2}', "train_gpus": "1"}, "2 nodes × 1 GPU = 2 GPUs, 2 CPUs, 6Gi"),
    ],
)
def test_what_training_gets_is_added_up_over_its_nodes(given: dict[str, str], totals: str) -> None:
    assert PipelineParameters(**given).totals() == totals
