"""Sources put through the gate."""

from __future__ import annotations

import time
from pathlib import Path

from sightline.config.presets import resolve
from sightline.documents import DataDocument
from sightline.validate import check
from sightline.validate.incremental import SAFE_SECONDS


def rest() -> None:
    """Wait until a file that is changed now has another time stamp than one that was read before."""
    time.sleep(SAFE_SECONDS + 0.1)


def look(root: Path, out: Path, **values: object) -> DataDocument:
    return check(str(root), resolve("balanced", values), out)
