"""The stage export in a process of its own; the engine keeps state, and warns, in the one it is imported into."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def run_stage(train: Path, snapshot: str, out: Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the stage with these options of its configuration."""
    code = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from sightline.config import ExportConfig\n"
        "from sightline.errors import SightlineError\n"
        "from sightline.export import run\n"
        "train, snapshot, out, options = sys.argv[1:]\n"
        "try:\n"
        "    run(train=Path(train), snapshot=snapshot, config=ExportConfig(**json.loads(options)),"
        " out=Path(out))\n"
        "except SightlineError as error:\n"
        "    sys.exit(f'{type(error).__name__}: {error}')\n"
    )
    arguments = [str(train), snapshot, str(out), json.dumps(options)]
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=240, check=False
    )
