"""The public surface, frozen: a change of an option, a parameter or a resource is a decision, not an accident."""

from __future__ import annotations

from tests.architecture.surface import changes


def test_surface_is_as_agreed() -> None:
    assert changes() == []
