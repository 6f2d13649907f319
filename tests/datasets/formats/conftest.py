"""What the tests of the formats share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sightline.config.presets import resolve
from sightline.documents import DataDocument, read
from sightline.errors import DataRejected
from sightline.validate import check
from tests.helpers.sets import Sets
from tests.helpers.tool_exports import ToolExport


@pytest.fixture
def make(sets: Sets, tmp_path: Path) -> ToolExport:
    return ToolExport(sets, tmp_path / "export")


@pytest.fixture
def report(tmp_path: Path) -> Callable[[Path], DataDocument]:
    """`report(source)` returns what the gate says of a source, refused or not."""

    def call(root: Path) -> DataDocument:
        return _report(root, tmp_path / "report")

    return call


@pytest.fixture
def look(tmp_path: Path) -> Callable[..., DataDocument]:
    """The same with rules set as named, and without `few-boxes`: `look(source, duplicate_id="warning")`."""

    def call(root: Path, **rules: Any) -> DataDocument:
        policy = {"rules": {"few-boxes": "off", **{name.replace("_", "-"): value for name, value in rules.items()}}}
        return _report(root, tmp_path / "report", **{"data.policy": policy})

    return call


def _report(root: Path, out: Path, **config: Any) -> DataDocument:
    with contextlib.suppress(DataRejected):
        return check(str(root), resolve("balanced", config), out)
    return read(DataDocument, out)
