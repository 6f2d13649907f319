"""Wrong values in the pipeline's form are mistakes of the person who filled it in, all named at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sightline.config.parameters import PipelineParameters
from sightline.errors import ConfigError

WRONG = [
    ("train_epochs", 1.5, "train_epochs: got '1.5', expected a whole number or preset"),
    ("train_epochs", "many", "train_epochs: got 'many', expected a whole number or preset"),
    ("train_epochs", None, "train_epochs: got null, expected text"),
    ("train_epochs", True, "train_epochs: got true, expected a value, not a switch"),
    ("train_seed", "preset", "train_seed: got 'preset', expected a whole number"),
    ("gate_min_map50", "high", "gate_min_map50: got 'high', expected a number or preset"),
    ("gate_min_map50", float("nan"), "gate_min_map50: got 'nan', expected a number or preset"),
    ("train_gpus", "two", "train_gpus: got 'two', expected a whole number"),
    ("data", ["a"], "data: got ['a'], expected text that is not empty"),
    ("data", "", "data: got '', expected text that is not empty"),
    ("epochs", 3, "unknown parameter 'epochs'; did you mean 'train_epochs'?"),
    ("overrides", "[1]", 'overrides: got [1], expected a JSON object such as {"train.lr0": 0.001}'),
    ("train_cpu", "4Gi", "train_cpu: got '4Gi', expected CPUs from 100m to 1024, such as 4 or 500m"),
    ("train_cpu", "0", "train_cpu: got '0', expected CPUs from 100m to 1024, such as 4 or 500m"),
    ("train_memory", 32, "train_memory: got '32', expected memory of at least 128Mi, such as 16Gi"),
    ("train_memory", "16GB", "train_memory: got '16GB', expected memory of at least 128Mi, such as 16Gi"),
]
CLUSTER = [
    ("train_node_selector", "gpu=a100", ("not JSON", "expected a JSON object of labels")),
    ("train_node_selector", '["a"]', ("got ['a']", "expected a JSON object of labels")),
    ("train_node_selector", '{"a b": "x", "c": 1}', ("'a b' is no label's key", "c: got 1")),
    ("train_node_selector", '{"a/b/c": "-x"}', ("'a/b/c' is no label's key", "got '-x'")),
    ("train_tolerations", "{}", ("got {}", "expected a JSON list")),
    ("train_tolerations", '[{"key": "a", "toleration_seconds": 3}]', ("unknown field", "tolerationSeconds")),
    ("train_tolerations", '[{"key": "a", "effect": "NoGo"}]', ("number 1: effect", "'NoExecute'")),
    ("train_tolerations", '[{"operator": "Exists"}, {"value": "x"}]', ("number 2: key: missing",)),
    ("train_tolerations", '[{"key": "a", "operator": "Exists", "value": "x"}]', ("the operator Exists takes none",)),
    ("train_tolerations", '[{"key": "a", "tolerationSeconds": 3}]', ("only for the effect NoExecute",)),
]


@pytest.mark.parametrize(("name", "value", "problem"), WRONG)
def test_a_wrong_parameter_is_named_with_what_it_can_be(name: str, value: Any, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PipelineParameters.given({name: value})
    assert caught.value.problems == (problem,)


@pytest.mark.parametrize(("name", "text", "words"), CLUSTER)
def test_what_the_cluster_would_refuse_is_refused_here(name: str, text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        PipelineParameters.given({name: text})
    (problem,) = caught.value.problems
    assert problem.startswith(f"{name}: ")
    assert all(word in problem for word in words), problem


def test_all_mistakes_come_at_once_those_of_the_configuration_as_well() -> None:
    wrong = {"train_cpu": "four", "train_tolerations": "no", "overrides": "no", "train_image_size": 33, "retrain": "x"}
    with pytest.raises(ConfigError) as caught:
        PipelineParameters.given({**wrong, "preset": "slow"})
    named = [problem.partition(":")[0] for problem in caught.value.problems]
    expected = ["overrides", "train_cpu", "train_tolerations", "preset", "train.image_size", "retrain.when"]
    assert named == expected


def test_the_task_ends_with_an_error_document_and_no_traceback(tmp_path: Path) -> None:
    parameters = {"train_epochs": 1.5, "gate_min_map50": "high", "train_seed": 3}
    code = (
        "from sightline import tasks\n"
        f"tasks.validate(dataset=None, page='page.html', **{parameters})"  # it never comes to these
    )
    error = tmp_path / "error.json"
    environment = {"PATH": "/usr/bin", "PYTHONPATH": ":".join(sys.path), "SIGHTLINE_ERROR": str(error)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**environment, "SIGHTLINE_RUN_ID": "r1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    message = (
        "The parameters of the pipeline are wrong:\n"
        "  - gate_min_map50: got 'high', expected a number or preset\n"
        "  - train_epochs: got '1.5', expected a whole number or preset"
    )
    assert done.stderr == f"error: {message}\n"
    expected = {"stage": "validate", "kind": "configuration", "message": message, "exit_code": 2}
    assert json.loads(error.read_text()) == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["error.json", "runs"]
    left = tmp_path / "runs" / "store" / "runs" / "r1" / "validate.error.json"
    assert json.loads(left.read_text()) == expected
