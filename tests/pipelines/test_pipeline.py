"""The pipeline as it is compiled: what a person fills in, what is cached, what runs when."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

from sightline.orchestrate.images import pipeline_file

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    return next(yaml.safe_load_all(pipeline_file().read_text()))


def test_every_parameter_has_a_description_and_a_default(spec: dict[str, Any]) -> None:
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    assert parameters
    assert all(len(value["description"]) > 20 and "defaultValue" in value for value in parameters.values())


def test_caching_is_off_where_inputs_do_not_decide(spec: dict[str, Any]) -> None:
    tasks = spec["root"]["dag"]["tasks"]
    register = spec["components"]["comp-condition-1"]["dag"]["tasks"]["register"]
    cached = {name for name, task in {**tasks, "register": register}.items() if task.get("cachingOptions")}
    assert cached == {"train", "export", "evaluate"}, "each takes the digest of what runs it"


def test_register_waits_for_the_verdict_and_report_does_not(spec: dict[str, Any]) -> None:
    tasks = spec["root"]["dag"]["tasks"]
    assert "register" not in tasks
    condition = tasks["condition-1"]["triggerPolicy"]["condition"]
    assert "verdict-Output" in condition
    assert "'accepted'" in condition
    assert "triggerPolicy" not in tasks["report"]


def test_training_takes_only_content_addresses(spec: dict[str, Any]) -> None:
    inputs = spec["root"]["dag"]["tasks"]["train"]["inputs"]
    assert set(inputs) == {"parameters"}
    produced = {
        value["taskOutputParameter"]["outputParameterKey"]
        for value in inputs["parameters"].values()
        if "taskOutputParameter" in value  # the others are what the task asks of the cluster
    }
    assert produced == {"snapshot", "weights", "train_config", "train_code"}


def test_nothing_is_installed_at_run_time_and_images_are_pinned(spec: dict[str, Any]) -> None:
    for executor in spec["deploymentSpec"]["executors"].values():
        container = executor["container"]
        assert "pip install" not in " ".join(container["command"])
        assert not container["image"].endswith((":latest", ":main"))
        assert ":" in container["image"]


COMPONENTS = [path for path in sorted((ROOT / "components").glob("[!_]*.py")) if path.stem != "images"]


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.stem)
def test_component_is_a_signature_a_docstring_and_one_call(path: Path) -> None:
    functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
    for function in functions:
        assert ast.get_docstring(function)
        _, load, call = function.body
        assert isinstance(load, ast.ImportFrom)
        assert isinstance(call, ast.Expr | ast.Return)
        assert isinstance(call.value, ast.Call)


def test_what_passes_from_task_to_task_has_one_description(spec: dict[str, Any]) -> None:
    tasks = spec["root"]["dag"]["tasks"]
    passed = 0
    for task in tasks.values():
        for name, value in task.get("inputs", {}).get("parameters", {}).items():
            source = value.get("taskOutputParameter")
            component = spec["components"][task["componentRef"]["name"]]
            taken = component.get("inputDefinitions", {}).get("parameters", {}).get(name, {}).get("description")
            if source and taken:
                producer = spec["components"][tasks[source["producerTask"]]["componentRef"]["name"]]
                made = producer["outputDefinitions"]["parameters"][source["outputParameterKey"]]["description"]
                assert taken == made, name
                passed += 1
    assert passed >= 10
