"""The progress file of a run, as its stages write it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path


def write_events(folder: Path, ended: Iterable[str]) -> None:
    """Write the events of stages that worked and ended, one second apart."""
    events = []
    for number, stage in enumerate(ended):
        events.append({"event": "start", "time": 1.8e9 + number, "stage": stage})
        events.append({"event": "end", "time": 1.8e9 + number + 0.5, "stage": stage, "seconds": 0.5})
    (folder / "progress.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
