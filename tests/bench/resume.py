"""Measures whether a killed training ends as if nothing had happened, and the time that a kill costs: part `resume`.

Equality: a training is killed in its second epoch, with `kill -9` of its supervisor, and started again with the same
command. Its whole state at the end (weights, their average, optimizer, generators) is compared with that of a training
that was never killed, tensor by tensor, bit for bit. The rival is the engine with its own `resume`.

Recovery: the last rank of a training is killed with `kill -9` in its second epoch, and the seconds until the first
batch of the next attempt are counted, by heartbeats, which are written twice a second.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sightline.datasets.synthetic import draw
from tests.bench import hooks
from tests.bench.timing import ROOT, timed
from tests.bench.trainings import ENGINE, Trainings, table

EPOCHS = 3
VALUES = {
    "train.epochs": EPOCHS,
    "train.image_size": 64,
    "train.batch": 16,
    "train.augment.mosaic": 1.0,
    "train.augment.close_mosaic": 1,
}
CASES: dict[str, dict[str, Any]] = {
    "no loaders": {"train.workers": 0},
    "2 loaders": {"train.workers": 2},
    "2 processes": {"train.workers": 0, "train.cpu_processes": 2},
}
FAULTS = ROOT / "build" / "faults.json"  # what `make faults` left
LONGEST = 300.0  # seconds that anything here may take


def main(folder: Path) -> dict[str, Any]:
    """Compare resumed with uninterrupted trainings, and time recoveries."""
    draw(folder / "data")
    trainings = Trainings(folder / "killed", "../data", "yolo11n.yaml", "quickstart", VALUES)
    result: dict[str, Any] = {"epochs": EPOCHS, "image_size": VALUES["train.image_size"]}
    result["equal"] = {name: equal(trainings, values) for name, values in CASES.items()}
    result["equal"]["engine"] = engine_equal(trainings)
    result["recovery"] = [recovery(trainings, name) for name in ("no loaders", "2 processes")]
    result["faults"] = played()
    return result


def equal(trainings: Trainings, values: dict[str, Any]) -> dict[str, Any]:
    """Kill a training in its second epoch, start it again, and compare its end with that of one left alone."""
    values = {**values, "train.hook": f"{hooks.__name__}:{hooks.keep_states.__name__}"}
    last = trainings.kept / f"epoch-{EPOCHS:04d}.pt"
    whole = trainings.kept / "uninterrupted.pt"
    trainings.ours(values)
    last.replace(whole)
    process = trainings.start_ours(values)
    _until(process, lambda: _second_epoch(trainings, 0))
    process.kill()
    process.wait()
    _gone(int(_beat(trainings, 1)["pid"]))
    resumed = trainings.ours(values).found
    compared = timed([sys.executable, "-m", "tests.bench.states", str(whole), str(last)], trainings.folder)[0]
    return {"resumed_from": resumed["attempts"][-1]["resumed_from"], **json.loads(compared.splitlines()[-1])}


def engine_equal(trainings: Trainings) -> dict[str, Any]:
    """Do the same with the engine alone and its own `resume`."""
    values = {"train.workers": 0}
    timed(trainings.engine_command(values, "uninterrupted"), trainings.folder)
    process = trainings.start(trainings.engine_command(values, "engine-killed"))
    folder = trainings.folder / "engine-killed"
    saved = folder / "weights" / "last.pt"
    _until(process, lambda: len(table(folder)) == 1 and saved.exists() and time.time() - saved.stat().st_mtime > 0.3)
    process.kill()
    process.wait()
    job = trainings.folder / "engine-resume.json"
    job.write_text(json.dumps({"resume": str(saved), "device": "cpu"}), encoding="utf-8")
    timed([*ENGINE, str(job)], trainings.folder)
    ends = [str(trainings.folder / name / "weights" / "last.pt") for name in ("uninterrupted", "engine-killed")]
    compared = timed([sys.executable, "-m", "tests.bench.states", "--engine", *ends], trainings.folder)[0]
    return {"resumed_from": 1, **json.loads(compared.splitlines()[-1])}


def recovery(trainings: Trainings, name: str) -> dict[str, Any]:
    """Kill the last rank in the second epoch; returns the seconds to the next attempt, its process, its first batch."""
    values = CASES[name]
    rank = values.get("train.cpu_processes", 1) - 1
    process = trainings.start_ours(values)
    _until(process, lambda: _second_epoch(trainings, rank))
    os.kill(int(_beat(trainings, 1, rank)["pid"]), signal.SIGKILL)
    killed = time.monotonic()
    seconds = {}
    for what, seen in (
        ("attempt", lambda: any(trainings.folder.glob("work/*/attempt-2/job.json"))),
        ("process", lambda: _beat(trainings, 2)),
        ("batch", lambda: _beat(trainings, 2).get("step")),
    ):
        _until(process, seen)
        seconds[what] = time.monotonic() - killed
    assert process.wait(LONGEST) == 0
    attempts = json.loads((trainings.folder / "run" / "train" / "train.json").read_text())["attempts"]
    return {
        "processes": rank + 1,
        "seconds": seconds,
        "ending": attempts[0]["ending"],
        "resumed_from": attempts[1]["resumed_from"],
    }


def played() -> list[dict[str, Any]]:
    """Return what `make faults` measured, if it left anything here."""
    rows = json.loads(FAULTS.read_text(encoding="utf-8")) if FAULTS.exists() else []
    return [row for row in rows if row["seconds"] is not None]


def _second_epoch(trainings: Trainings, rank: int) -> bool:
    """Tell whether a process trains its second epoch, and the first one's checkpoint is complete."""
    kept = any(trainings.folder.glob("work/*/checkpoints/epoch-0001.json"))
    return kept and _beat(trainings, 1, rank).get("epoch") == 2


def _beat(trainings: Trainings, attempt: int, rank: int = 0) -> dict[str, Any]:
    """Return the newest heartbeat of a process of an attempt; empty without one."""
    for path in trainings.folder.glob(f"work/*/attempt-{attempt}/heartbeat-{rank}.json"):
        try:
            beat: dict[str, Any] = json.loads(path.read_bytes())
        except FileNotFoundError:  # an old one, which goes when a training starts
            continue
        return beat
    return {}


def _until(process: subprocess.Popen[bytes], holds: Callable[[], object]) -> None:
    """Wait for something while a training runs."""
    deadline = time.monotonic() + LONGEST
    while not holds():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(f"the training did not come that far; it ended with {process.wait()}")
        time.sleep(0.02)


def _gone(process: int) -> None:
    """Wait until a process is no more."""
    while Path(f"/proc/{process}/status").exists():
        time.sleep(0.05)
