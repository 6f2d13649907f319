"""What KFP carries into a container is the source of a component alone: it must stand there by itself."""

from __future__ import annotations

import ast
from typing import Any

import yaml

from sightline.config.parameters import PipelineParameters
from sightline.orchestrate.images import pipeline_file


def sources() -> dict[str, str]:
    spec: dict[str, Any] = next(yaml.safe_load_all(pipeline_file().read_text(encoding="utf-8")))
    executors = spec["deploymentSpec"]["executors"]
    return {name.removeprefix("exec-"): item["container"]["command"][-1] for name, item in executors.items()}


def test_every_component_runs_with_what_kfp_imports_for_it() -> None:
    for name, source in sources().items():
        namespace: dict[str, Any] = {}
        exec(source, namespace)
        assert callable(namespace[name])


def test_validate_takes_every_parameter_by_name_and_passes_it_on() -> None:
    function = ast.parse(sources()["validate"]).body[-1]
    assert isinstance(function, ast.FunctionDef)
    call = function.body[-1].value  # type: ignore[attr-defined]
    taken = {argument.arg: ast.unparse(argument.annotation) for argument in function.args.args if argument.annotation}
    passed = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    for name in PipelineParameters.model_fields:
        assert taken[name] == "str"
        assert passed[name] == name
    assert function.args.kwarg is None
    assert set(taken) - {"data_report"} == set(passed) - {"page"}, "what the dashboard calls it says which page"
