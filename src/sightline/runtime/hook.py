"""A user's hook, `module:function`, which every training process calls with the engine's trainer before it starts.

These processes are started by `python -m`, so they look in the working directory first. Before that, only its source is
looked at: nothing of it runs in Sightline's own processes.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from sightline.errors import ConfigError, did_you_mean

FIELD = "train.hook"


def check(hook: str) -> None:
    """See that a hook is there. Raises ConfigError for a module or a function that is not."""
    path, function = _file(hook), hook.partition(":")[2]
    try:
        body = ast.parse(path.read_bytes()).body
    except (SyntaxError, ValueError) as error:
        raise ConfigError(f"{FIELD}: got '{hook}', and {path} is not Python: {error}.") from None
    functions = [node.name for node in body if isinstance(node, ast.FunctionDef)]
    if function not in functions:
        raise ConfigError(
            f"{FIELD}: got '{hook}', and {path} has no `def {function}` at its top level"
            f"{did_you_mean(function, functions) or '.'}"
        )


def source_digest(hook: str) -> str:
    """Return the sha256 of the file in which a hook is; of what that imports it says nothing.

    Raises ConfigError for a module that is not there.
    """
    return hashlib.sha256(_file(hook).read_bytes()).hexdigest()


def load(hook: str) -> Callable[[Any], Any]:
    """Import the function that a hook names."""
    module, _, function = hook.partition(":")
    found: Callable[[Any], Any] = getattr(importlib.import_module(module), function)
    return found


def _file(hook: str) -> Path:
    """Return the source of a hook's module. Raises ConfigError."""
    module = hook.partition(":")[0]
    spec = _spec(module)
    path = Path(spec.origin) if spec and spec.has_location and spec.origin else None
    if path is None:
        raise ConfigError(
            f"{FIELD}: got '{hook}', and there is no module '{module}' here: expected it in the working directory "
            f"({Path.cwd()}), in a folder that PYTHONPATH names, or installed for {sys.executable}."
        )
    if path.suffix != ".py" or not path.is_file():
        raise ConfigError(
            f"{FIELD}: got '{hook}', and '{module}' is {path}, not Python source, which is part of what a training is "
            "recognised by. Wrap it in a module of your own."
        )
    return path


def _spec(module: str) -> ModuleSpec | None:
    """Find a module. Python's own `find_spec` would run the packages around it."""
    first, *inner = module.split(".")
    spec = PathFinder.find_spec(first, [str(Path.cwd()), *sys.path])
    if spec is None:  # installed in place, which has finders of its own
        spec = next((found for finder in sys.meta_path if (found := finder.find_spec(first, None))), None)
    for name in inner:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(name, list(spec.submodule_search_locations))
    return spec
