"""An object store that keeps the checkpoints: down while they are pushed, and all that is left of a lost machine."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator

from tests.faults.registry import Outcome, case, recovered
from tests.faults.stand import Stand, expect, gone, parent
from tests.helpers.s3_server import BUCKET, S3Server, s3_serving

OUTAGE = 3.0  # seconds for which training goes on while the store is down


@contextlib.contextmanager
def _served(stand: Stand) -> Iterator[S3Server]:
    """Give a training a store of its own, on a server that can be killed."""
    folder = stand.folder / "s3"
    folder.mkdir()
    with s3_serving(folder) as server:
        stand.variables |= {**server.variables(), "SIGHTLINE_STORE": f"s3://{BUCKET}/lab", "SIGHTLINE_RUN_ID": "same"}
        try:
            yield server
        finally:
            stand.close()


def _pushed(server: S3Server) -> list[str]:
    """Return the names of what lies in the store for a training that goes on."""
    return [str(each.object_name) for each in server.client().list_objects(BUCKET, "lab/checkpoints/", recursive=True)]


@case("store-down", "the object store is killed while checkpoints are pushed, and comes back")
def store_down(stand: Stand) -> Outcome:
    with _served(stand) as server:
        started = stand.start(epochs=3)
        started.met()
        stand.strike(server.kill)
        started.until(lambda: "training goes on, but the object store cannot be used" in started.output)
        time.sleep(OUTAGE)
        server.start()
        server.wait()
        outcome = recovered(stand, started)
        left = _pushed(server)
    expect(not [name for name in left if name.endswith(".pt")], f"left in the store: {left}")
    return Outcome("said, and finished in one attempt", outcome.attempts)


@case("machine-lost", "kill -9 of all processes, and the disk with them: only the store has checkpoints")
def machine_lost(stand: Stand) -> Outcome:
    with _served(stand) as server:
        started = stand.start(hook="tests.faults.hooks:meet_later")
        ranks = started.met()
        started.until(lambda: any(name.endswith("epoch-0002.json") for name in _pushed(server)))
        launcher = parent(ranks[0])
        stand.strike(started.process.kill)
        started.wait()
        gone([launcher, *ranks.values()])
        shutil.rmtree(stand.work)
        return recovered(stand, stand.start(), "killed", kept=2)
