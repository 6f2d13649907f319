"""Repaired copies of a source."""

from __future__ import annotations

import csv
from pathlib import Path

from sightline.config.presets import resolve
from sightline.validate.repair.fix import fix


def repaired(root: Path, tmp_path: Path) -> list[tuple[str, str]]:
    """Write a repaired copy into `fixed`; returns what was changed, and by which rule."""
    done = fix(str(root), resolve("balanced", {}), tmp_path / "fixed")
    with open(done.changes_file, newline="", encoding="utf-8") as file:
        return [(row["rule"], row["change"]) for row in csv.DictReader(file)]
