"""The ends of small pipelines on a real cluster, recorded in `tests/why/recorded`."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from sightline import why
from sightline.documents.cause import Cause
from sightline.why import Seen

RECORDED = Path(__file__).parents[1] / "why" / "recorded"


def seen(name: str) -> Seen:
    """Return what was to be seen, as `why` would with all rights."""
    found = json.loads((RECORDED / f"{name}.json").read_text())
    return Seen(
        run_id="r1",
        at=datetime.fromisoformat(found["at"]),
        known=True,
        answered=True,
        workflow=found["workflow"],
        pods=found.get("pods", {}),
        events={pod: tuple(events) for pod, events in found.get("events", {}).items()},
        nodes=found.get("nodes", {}),
        logs=found.get("logs", {}),
    )


def named(found: Seen) -> Cause:
    """Return its cause, which has to have all that people want to know."""
    cause = why.cause(found)
    assert cause
    assert cause.evidence
    assert cause.do
    assert "{" not in cause.do.replace("{e.g.}", "")
    return cause
