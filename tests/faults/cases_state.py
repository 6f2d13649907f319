"""What is wrong with numbers, files and disks, and the user's own mistakes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from tests.faults import hooks
from tests.faults.registry import Outcome, case, recovered, stopped
from tests.faults.stand import Stand, expect, gone, parent
from tests.helpers.small_disk import mounted

DISK = "230m"  # holds four checkpoints of a nano model, of which three are kept


@case("not-a-number", "NaN in a weight, once")
def not_a_number(stand: Stand) -> Outcome:
    started = stand.start(hook="tests.faults.hooks:not_a_number")
    outcome = recovered(stand, started, "not_finite")
    [_, after] = stand.document().attempts
    expect(after.changed == ["learning rate 0.001 → 0.0005"], after.changed)
    return outcome


@case("not-a-number-ever", "NaN in a weight in every attempt")
def not_a_number_ever(stand: Stand) -> Outcome:
    started = stand.start(hook="tests.faults.hooks:not_a_number_ever")
    return stopped(stand, started, "not_finite", "train.lr0", "also with 0.000125", attempts=4, code=2)


def _damaged(stand: Stand, damage: Callable[[Path], None], words: str) -> Outcome:
    """Kill a training in its third epoch, damage the newest of its two checkpoints, and start it again."""
    started = stand.start(hook="tests.faults.hooks:meet_later")
    ranks = started.met()
    launcher = parent(ranks[0])
    stand.strike(started.process.kill)
    started.wait()
    gone([launcher, *ranks.values()])
    before, newest = stand.checkpoints()
    damage(newest)
    started = stand.start()
    outcome = recovered(stand, started, "killed", lost=1)
    expect(f"{newest.name} is not used: {words}" in started.output, started.output[:800])
    expect(stand.document().attempts[1].resumed_from == 1, f"{before.name} was not used")
    return outcome


@case("checkpoint-cut", "the newest checkpoint cut in half after a kill -9 of the whole job")
def checkpoint_cut(stand: Stand) -> Outcome:
    return _damaged(stand, lambda path: os.truncate(path, path.stat().st_size // 2), "it has ")


@case("checkpoint-foreign", "the newest checkpoint is that of another training")
def checkpoint_foreign(stand: Stand) -> Outcome:
    def foreign(path: Path) -> None:
        manifest = path.with_suffix(".json")
        values = json.loads(manifest.read_bytes())
        manifest.write_text(json.dumps({**values, "key": values["key"][::-1]}))

    return _damaged(stand, foreign, "it belongs to another training")


@case("full-disk", "the disk of the checkpoints is full; room is made, and the same command runs again")
def full_disk(stand: Stand) -> Outcome:
    with mounted(stand.folder / "disk", DISK) as disk:
        stand.work = disk / "work"
        stand.variables["SIGHTLINE_WORK"] = str(stand.work)
        try:
            ended = stopped(
                stand, stand.start(hook="tests.faults.hooks:full_disk"), "disk_full", "space left", str(disk)
            )
            [filler] = stand.work.glob(f"*/checkpoints/{hooks.FILLER}")
            filler.unlink()
            outcome = recovered(stand, stand.start(), "disk_full")
        finally:
            stand.close()
    return Outcome(f"{ended.ended}; then finished", outcome.attempts, outcome.seconds)


@case("mistake-in-hook", "an exception in the user's hook", quick=True)
def mistake_in_hook(stand: Stand) -> Outcome:
    return stopped(stand, stand.start(hook="tests.faults.hooks:mistaken"), "code", "no such column: 'patient'")


@case("hook-missing", "a hook that is not there")
def hook_missing(stand: Stand) -> Outcome:
    started = stand.start(hook="no_such_module:hook")
    return stopped(stand, started, "configuration", "train.hook", "no module 'no_such_module'", attempts=0, code=2)
