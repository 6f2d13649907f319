"""Runs a script that imports the engine, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def found(module: str, folder: Path) -> dict[str, Any]:
    """Return what `tests.train.engine.<module>` leaves in `found.json`, and as `said` what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.train.engine.{module}", str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    content: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return content | {"said": done.stdout + done.stderr}
