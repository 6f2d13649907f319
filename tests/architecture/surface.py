"""Collects the public surface: CLI options, configuration keys, pipeline parameters with defaults, resources."""

from __future__ import annotations

import difflib
import json
import sys
from pathlib import Path
from typing import Any

import yaml
from typer.main import get_command

from sightline.cli import app
from sightline.config.assignments import keys

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


def changes() -> list[str]:
    """Return the lines by which the surface differs from what was agreed."""
    agreed = Path(__file__).with_name("surface.json").read_text(encoding="utf-8")
    return list(difflib.unified_diff(agreed.splitlines(), text().splitlines(), "agreed", "code", lineterm="", n=1))


def text() -> str:
    """Return the surface as it is stored."""
    return json.dumps(surface(), indent=2) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit("\n".join(["The public surface changed (see CONTRIBUTING.md):", *changes()]) if changes() else 0)
    print(text(), end="")
