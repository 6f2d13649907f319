"""Files of settings: what is read from them, what is written into them, and their mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.config import form_file, settings_file
from sightline.config.parameters import PipelineParameters
from sightline.config.presets import PRESETS, resolve
from sightline.errors import ConfigError


def read(path: Path, text: str) -> settings_file.Settings:
    path.write_text(text, encoding="utf-8")
    return settings_file.read(str(path))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_written_file_gives_the_same_configuration_whatever_the_preset(preset: str, tmp_path: Path) -> None:
    values = {
        "train.cache": "off",
        "train.lr0": 1e-8,
        "train.freeze": [0, "22.cv2"],
        "train.engine": {"conf": None, "max_det": 7},
        "data.policy": {"base": "strict", "rules": {"tiny-box": "error"}, "thresholds": {"min_boxes": 3}},
        "register.model_name": "1e5",
        "register.experiment": "tonight's: #1, [é]",
        "data.images": "/a, b/on",
    }
    whole = resolve(preset, values)
    found = read(tmp_path / "whole.yaml", settings_file.text(whole))
    assert found.preset == preset
    sized = whole.train.sizing == "auto"  # then the file leaves to its preset what a card may choose
    other = resolve(preset if sized else "accurate" if preset == "fast" else "fast", found.values)
    if not sized:
        other = other.model_copy(update={"train": other.train.model_copy(update={"given": ()})})
    assert other.model_copy(update={"preset": preset}) == whole


def test_what_a_machine_or_auto_decides_is_left_out_of_a_written_file(tmp_path: Path) -> None:
    chosen = read(tmp_path / "a.yaml", settings_file.text(resolve("fast", {"train.optimizer": "auto"})))
    assert not {"train.gpus", "train.lr0", "train.momentum", "train.warmup_bias_lr"} & chosen.values.keys()
    assert resolve("fast", chosen.values).train.optimizer == "auto"
    two = settings_file.text(resolve("fast", {"train.gpus": 2}))
    assert read(tmp_path / "b.yaml", two).values["train.gpus"] == 2


def test_what_a_card_may_choose_is_left_out_of_a_written_file_and_what_a_person_chose_is_not(tmp_path: Path) -> None:
    values = {"train.batch": 8, "train.image_size": 320}
    found = read(tmp_path / "a.yaml", settings_file.text(resolve("balanced", values))).values
    chosen = {"weights.source", "train.batch", "train.image_size", "train.nominal_batch", "train.workers"}
    assert chosen & found.keys() == values.keys()
    assert resolve("balanced", found, "high") == resolve("balanced", {**found, **values}, "high")
    assert resolve("balanced", found, "high").weights.source == "yolo11l.pt"
    mine = settings_file.text(resolve("balanced", {"weights.source": "yolov8n.pt"}))
    assert read(tmp_path / "b.yaml", mine).values["weights.source"] == "yolov8n.pt"


def test_parts_of_a_configuration_and_dotted_keys_are_read(tmp_path: Path) -> None:
    found = read(tmp_path / "a.yaml", "train:\n  augment: {mosaic: 0}\n  engine: {conf: 0.1}\ntrain.epochs: 3\ngate:\n")
    assert found == (None, {"train.augment.mosaic": 0, "train.engine": {"conf": 0.1}, "train.epochs": 3})
    assert read(tmp_path / "a.yaml", "# nothing") == (None, {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: 5", "train: got 5, expected its keys with values"),
        ("train: {augment: off}", "train.augment: got 'off', expected its keys with values"),
        ("train: {epochs: 1}\ntrain.epochs: 2", "train.epochs is given twice"),
        ("train.engine: {max_det: 1}\ntrain: {engine.max_det: 2}", "train.engine.max_det is given twice"),
        ("preset: 5", "preset: got 5, expected one of quickstart, fast"),
        ("preset: ''", "preset: got '', expected one of quickstart"),
        ("a: 1\na: 2", "cannot be read: line 2: 'a' is given twice"),
        ("[1, 2]", "holds [1, 2], expected keys with values, such as train: {epochs: 50}"),
        ("train: !!python/object:os.system {}", "cannot be read: line 1: could not determine a constructor"),
    ],
)
def test_a_file_that_is_none_of_settings_is_refused(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "a.yaml", text)
    assert words in str(caught.value)
    assert str(tmp_path / "a.yaml") in str(caught.value)


def test_wrong_keys_and_values_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    values = read(tmp_path / "a.yaml", "nothing: {}\ntrian: {epochs: 3}\ntrain: {imgsz: 5}\nexport: {opset: 99}").values
    with pytest.raises(ConfigError) as caught:
        resolve("fast", values)
    assert list(caught.value.problems) == [
        "unknown key 'nothing'",
        "unknown key 'trian.epochs'; did you mean 'train.epochs'?",
        "unknown key 'train.imgsz'; did you mean 'train.image_size'?",
        "export.opset: got 99, expected a whole number, at least 17 and at most 20",
    ]


def test_a_file_stands_below_the_parameters_of_the_form() -> None:
    file = settings_file.Settings(
        "fast",
        {
            **{"train.epochs": 7, "train.gpus": 2, "train.lr0": 0.1, "gate.min_map50": None, "train.seed": 4},
            **{"data.policy": {"base": "strict"}, "register.alias": "best", "train.cosine": True},
        },
    )
    given = {"data": "s3://b/d", "train_epochs": "9", "data_policy": "lenient", "overrides": '{"train.lr0": 0.2}'}
    found = form_file.parameters(given, file)
    overrides = json.loads(found.pop("overrides"))
    assert overrides == {"train.lr0": 0.2, "gate.min_map50": None, "train.cosine": True}
    assert found == {
        **{"data": "s3://b/d", "train_epochs": "9", "data_policy": "lenient", "preset": "fast", "train_gpus": "2"},
        **{"train_seed": "4", "register_alias": "best"},
    }
    values = PipelineParameters.given({**found, "overrides": json.dumps(overrides)}).values()
    assert (values["train.epochs"], values["train.gpus"], values["train.lr0"]) == (9, 2, 0.2)
    with pytest.raises(ConfigError, match="--preset is accurate, and the file of --config has preset fast"):
        form_file.parameters({"preset": "accurate"}, file)
    assert form_file.parameters({"overrides": "no"}, file)["overrides"] == "no"  # which the form refuses


def test_preset_file_options_and_set_follow_each_other(command: Callable, tmp_path: Path) -> None:
    (tmp_path / "my.yaml").write_text("preset: accurate\ntrain: {epochs: 7, seed: 1, batch: 4}\n")
    done = command("config", "--config", "my.yaml", "--set", "train.seed=2", cwd=tmp_path)
    shown = {line.split()[0]: line.split()[1] for line in done.stdout.splitlines() if line.startswith("train.")}
    assert [shown[f"train.{name}"] for name in ("epochs", "seed", "batch", "patience")] == ["7", "2", "4", "50"]
    done = command("run", "--config", "my.yaml", "--epochs", "0", "--set", "train.seed=x", "--data", "no", cwd=tmp_path)
    assert done.returncode == 2
    assert "train.epochs: got 0" in done.stdout  # not the file's 7
    assert "train.seed: got 'x'" in done.stdout
    done = command("config", "--config", "my.yaml", "--preset", "fast", cwd=tmp_path)
    assert done.returncode == 2
    assert "--preset is fast, and the file of --config has preset accurate: leave one out" in done.stderr
    done = command("config", "--config", "none.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "none.yaml is no file; `sightline config --yaml > my.yaml` writes one" in done.stderr


def test_options_of_run_are_those_of_the_form(command: Callable, tmp_path: Path) -> None:
    options = ["--batch", "0", "--image-size", "33", "--seed", "-1", "--alias", "latest", "--model-name", "a/b"]
    done = command("run", "--data", "quickstart", *options, "--min-map50", "0.5", cwd=tmp_path)
    assert done.returncode == 2
    for words in (
        "train.batch: got 0",
        "train.image_size: got 33",
        "train.seed: got -1",
        "register.alias: got 'latest'",
    ):
        assert words in done.stdout
    done = command("run", "--min-map50", "2", cwd=tmp_path)
    assert done.returncode == 2
    assert "got '2', expected a number from 0 to 1" in done.stderr
