"""Collects the public surface: CLI options, configuration keys, pipeline parameters with defaults, resources."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from typer.main import get_command

from sightline.cli import app
from sightline.config import keys

ROOT = Path(__file__).parents[2]


def surface() -> dict[str, Any]:
    """Return everything that somebody may have written into a script."""
    group = get_command(app)
    options = {
        name: sorted(option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts))
        for name, command in sorted(group.commands.items())  # type: ignore[attr-defined]
    }
    spec = next(yaml.safe_load_all((ROOT / "pipelines" / "compiled" / "train.yaml").read_text()))
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    executors = spec["deploymentSpec"]["executors"]
    return {
        "options": options,
        "configuration": sorted(keys()),
        "parameters": {name: value.get("defaultValue") for name, value in sorted(parameters.items())},
        "resources": {
            name.removeprefix("exec-"): executor["container"]["resources"]
            for name, executor in sorted(executors.items())
        },
        "images": sorted({executor["container"]["image"] for executor in executors.values()}),
    }


if __name__ == "__main__":
    print(json.dumps(surface(), indent=2))
