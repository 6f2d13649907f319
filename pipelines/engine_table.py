"""Reads from the installed engine which settings it has, with their types and bounds, without importing it.

Validate's image has no engine: it judges `train.engine` by the table that this writes into the package.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

DISTRIBUTION = "ultralytics-opencv-headless"
LINE = re.compile(r"(\w+):.*?# \(([^)]*)\)")  # name and kinds of a setting
KINDS = {"CFG_BOOL_KEYS": "bool", "CFG_INT_KEYS": "int", "CFG_STR_KEYS": "str"}
KINDS |= {"CFG_FLOAT_KEYS": "float", "CFG_FRACTION_KEYS": "float"}


def text() -> str:
    """Return the table as JSON: a line for each setting, by name."""
    rows = (f'    "{name}": {json.dumps(row, ensure_ascii=False)}' for name, row in sorted(settings().items()))
    return f'{{\n  "engine": "{version(DISTRIBUTION)}",\n  "settings": {{\n' + ",\n".join(rows) + "\n  }\n}\n"


def settings() -> dict[str, dict[str, Any]]:
    """Return kinds, whether null is allowed, and bounds of each setting, as the engine itself checks them.

    Names come from its `default.yaml`, kinds and bounds from the sets in `cfg/__init__.py`; a name that these leave out
    has the kinds that its comment states.
    """
    package = _folder() / "cfg"
    page = (package / "default.yaml").read_text(encoding="utf-8")
    described = {match[1]: re.split(r" *[|,] *", match[2]) for match in map(LINE.match, page.splitlines()) if match}
    checked = _constants(package / "__init__.py")
    found = {}
    for name, default in yaml.safe_load(page).items():
        kind = next((kind for keys, kind in KINDS.items() if name in checked[keys]), None)
        found[name] = {
            "kinds": [kind] if kind else [part for part in described[name] if part != "optional"],
            "optional": default is None,
            "least": 0 if name in checked["CFG_FRACTION_KEYS"] else checked["CFG_INT_MIN"].get(name),
            "most": 1 if name in checked["CFG_FRACTION_KEYS"] else None,
        }
    return found


def _folder() -> Path:
    spec = importlib.util.find_spec("ultralytics")
    assert spec
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def _constants(module: Path) -> dict[str, Any]:
    """Return the sets and mappings of names that a module assigns, without running it."""
    found = {}
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = node.value
            if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "frozenset":
                value = value.args[0]
            if node.targets[0].id.startswith("CFG_"):
                found[node.targets[0].id] = ast.literal_eval(value)
    return found
