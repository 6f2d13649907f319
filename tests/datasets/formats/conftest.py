"""What the tests of the formats share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.sets import Sets
from tests.helpers.tool_exports import ToolExport


@pytest.fixture
def make(sets: Sets, tmp_path: Path) -> ToolExport:
    return ToolExport(sets, tmp_path / "export")
