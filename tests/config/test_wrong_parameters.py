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
    ("epochs", 1.5, "epochs: got 1.5, expected a whole number"),
    ("epochs", "many", "epochs: got 'many', expected a whole number"),
    ("epochs", None, "epochs: got null, expected a whole number"),
    ("epochs", True, "epochs: got true, expected a value, not a switch"),
    ("min_map50", "high", "min_map50: got 'high', expected a number"),
    ("min_map50", float("nan"), "min_map50: got nan, expected a number"),
    ("gpus", 1, "gpus: got 1, expected text"),
    ("data", ["a"], "data: got ['a'], expected text"),
    ("epoch", 3, "unknown parameter 'epoch'; did you mean 'epochs'?"),
]


@pytest.mark.parametrize(("name", "value", "problem"), WRONG)
def test_a_wrong_parameter_is_named_with_what_it_can_be(name: str, value: Any, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        PipelineParameters.given({name: value})
    assert caught.value.problems == (problem,)


def test_the_task_ends_with_an_error_document_and_no_traceback(tmp_path: Path) -> None:
    parameters = {"epochs": 1.5, "min_map50": "high", "seed": 3}
    code = (
        "from sightline import tasks\n"
        f"tasks.validate(folder='out', metrics=None, page='page.html', **{parameters})"  # it never comes to these
    )
    error = tmp_path / "error.json"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PATH": "/usr/bin", "PYTHONPATH": ":".join(sys.path), "SIGHTLINE_ERROR": str(error)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    message = (
        "The parameters of the pipeline are wrong:\n"
        "  - epochs: got 1.5, expected a whole number\n"
        "  - min_map50: got 'high', expected a number"
    )
    assert done.stderr == f"error: {message}\n"
    expected = {"stage": "validate", "kind": "configuration", "message": message, "exit_code": 2}
    assert json.loads(error.read_text()) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["error.json"]
