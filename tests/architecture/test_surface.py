"""The public surface, frozen: a change of an option, a parameter or a resource is a decision, not an accident.

After a wanted change: python -m tests.architecture.surface > tests/architecture/surface.json
"""

from __future__ import annotations

import json
from pathlib import Path

from .surface import surface


def test_surface_is_as_agreed() -> None:
    agreed = json.loads(Path(__file__).with_name("surface.json").read_text())
    assert surface() == agreed
