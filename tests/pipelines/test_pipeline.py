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


def groups(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The tasks of every group of the pipeline by its name; the root's is ''."""
    found = {"": spec["root"]["dag"]["tasks"]}
    for name, component in spec["components"].items():
        if "dag" in component:
            found[name.removeprefix("comp-")] = component["dag"]["tasks"]
    return found


def every_task(spec: dict[str, Any]) -> dict[str, Any]:
    """All tasks of the pipeline by name, without its groups."""
    return {name: task for tasks in groups(spec).values() for name, task in tasks.items() if name not in groups(spec)}


def test_the_run_is_held_by_its_exit_task_and_branches_on_two_verdicts(spec: dict[str, Any]) -> None:
    named = {key: task["taskInfo"]["name"] for tasks in groups(spec).values() for key, task in tasks.items()}
    found = {named.get(group, group): {named[key] for key in tasks} for group, tasks in groups(spec).items()}
    branches = "what the gate says"
    assert found == {
        "": {"run", "conclude"},
        "run": {"validate", "gate", branches},
        branches: {"data accepted", "data refused"},
        "data accepted": {*("train", "export", "evaluate", "sample", "report", "verdict"), "model accepted"},
        "model accepted": {"register"},
        "data refused": {"refuse"},
    }
    words = {"data accepted": "== 'accepted'", "data refused": "== 'refused'", "model accepted": "== 'accepted'"}
    for tasks in groups(spec).values():
        for key, task in tasks.items():
            condition = task.get("triggerPolicy", {}).get("condition", "")
            assert words.pop(named[key], "") in condition if condition else named[key] not in words
    assert not words
    assert spec["root"]["dag"]["tasks"]["conclude"]["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"


def test_caching_is_off_where_inputs_do_not_decide(spec: dict[str, Any]) -> None:
    cached = {name for name, task in every_task(spec).items() if task.get("cachingOptions")}
    assert cached == {"train", "export", "evaluate"}, "each takes the digest of what runs it"


def test_only_tasks_that_are_not_cached_know_the_runs_name(spec: dict[str, Any]) -> None:
    texts = {name: yaml.safe_dump(task["inputs"]) for name, task in every_task(spec).items() if "inputs" in task}
    assert {name for name, text in texts.items() if "pipeline_job_name" in text} == {"report", "conclude"}
    assert not any("pipeline_job_uuid" in text or "pipeline_job_id" in text for text in texts.values())


def test_artifacts_are_few_typed_and_passed_down_one_line(spec: dict[str, Any]) -> None:
    made = {}
    for name, component in spec["components"].items():
        artifacts = component.get("outputDefinitions", {}).get("artifacts", {})
        if "executorLabel" in component and artifacts:
            made[name.removeprefix("comp-")] = {k: v["artifactType"]["schemaTitle"] for k, v in artifacts.items()}
    assert made == {
        "validate": {"dataset": "system.Dataset", "data_report": "system.HTML"},
        "train": {"checkpoint": "system.Model"},
        "export": {"onnx": "system.Model"},
        "evaluate": {"scores": "system.Metrics"},
        "report": {"run_report": "system.HTML"},
        "register": {"version": "system.Markdown"},
        "conclude": {"final_report": "system.HTML"},
    }
    used = [
        value["taskOutputArtifact"]["producerTask"]
        for task in every_task(spec).values()
        for value in task.get("inputs", {}).get("artifacts", {}).values()
    ]
    assert sorted(used) == ["evaluate", "export", "train"], "each artifact is used once: no knot in the graph"


def test_training_takes_only_content_addresses(spec: dict[str, Any]) -> None:
    inputs = every_task(spec)["train"]["inputs"]
    assert set(inputs) == {"parameters"}
    component = set(spec["components"]["comp-train"]["inputDefinitions"]["parameters"])
    produced = {value["componentInputParameter"] for name, value in inputs["parameters"].items() if name in component}
    wanted = ("snapshot", "weights", "train_config", "train_code")
    assert produced == {f"pipelinechannel--validate-{name}" for name in wanted}


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
    made = spec["components"]["comp-validate"]["outputDefinitions"]["parameters"]
    passed = 0
    for name, task in every_task(spec).items():
        component = spec["components"][task["componentRef"]["name"]]
        for key, value in task.get("inputs", {}).get("parameters", {}).items():
            source = str(value.get("componentInputParameter", "")).removeprefix("pipelinechannel--validate-")
            taken = component.get("inputDefinitions", {}).get("parameters", {}).get(key, {}).get("description")
            if source in made and taken:
                assert taken == made[source]["description"], (name, key)
                passed += 1
    assert passed >= 8
