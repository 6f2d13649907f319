"""Configuration: dotted keys, presets, and mistakes that explain themselves."""

from __future__ import annotations

import pytest

from sightline.config import RunConfig, keys, parse_assignments
from sightline.errors import ConfigError
from sightline.presets import PRESETS, resolve
from sightline.tasks import parameters_to_values

PARAMETERS = {
    "policy": "default",
    "format": "auto",
    "weights": "",
    "epochs": 0,
    "image_size": 0,
    "batch": 0,
    "gpus": "0",
    "model_name": "",
    "min_map50": 0.0,
    "min_map50_95": 0.0,
    "seed": 0,
    "overrides": "{}",
}


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_is_whole_and_survives_json(preset: str) -> None:
    config = resolve(preset, {})
    assert config.preset == preset
    assert RunConfig.model_validate_json(config.json_text()) == config


def test_every_key_has_a_meaning() -> None:
    assert len(list(keys())) > 40
    for part in ("train", "gate", "export", "data", "weights", "sample", "register_"):
        for name, field in type(getattr(RunConfig(), part)).model_fields.items():
            assert field.description, f"{part}.{name}"


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("balanced", {"train.epoch": 1, "train.batch": "x", "gate.min_map50": 2, "train.image_size": 100})
    text = str(caught.value)
    assert "did you mean 'train.epochs'?" in text
    assert "train.batch: got 'x'" in text
    assert "gate.min_map50: got 2" in text
    assert "multiple of 32" in text


def test_batch_must_be_shared_evenly() -> None:
    with pytest.raises(ConfigError, match="batch 15 cannot be shared evenly by 2 processes"):
        resolve("fast", {"train.batch": 15, "train.gpus": 2})


def test_values_are_yaml_scalars() -> None:
    assert parse_assignments(["train.epochs=3", "gate.min_map50=null", "train.cosine=true", "data.format=voc"]) == {
        "train.epochs": 3,
        "gate.min_map50": None,
        "train.cosine": True,
        "data.format": "voc",
    }


def test_untouched_pipeline_parameters_leave_the_preset_alone() -> None:
    assert resolve("quickstart", parameters_to_values(PARAMETERS)) == resolve("quickstart", {"train.gpus": 0})


def test_overrides_win_over_parameters() -> None:
    values = parameters_to_values({**PARAMETERS, "epochs": 5, "overrides": '{"train.epochs": 7}'})
    assert resolve("fast", values).train.epochs == 7


@pytest.mark.parametrize("text", ["{", "[1]", '"x"'])
def test_overrides_must_be_a_json_object(text: str) -> None:
    with pytest.raises(ConfigError, match="overrides"):
        parameters_to_values({**PARAMETERS, "overrides": text})
