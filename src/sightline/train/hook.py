"""A user's hook: `module:function`, called with the engine's trainer in every training process before it starts."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any


def load(hook: str) -> Callable[[Any], Any]:
    """Import the function that a hook names."""
    module, _, function = hook.partition(":")
    found: Callable[[Any], Any] = getattr(importlib.import_module(module), function)
    return found
