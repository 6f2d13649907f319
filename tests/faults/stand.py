"""A small training that a case hurts: started as a user does, followed by its heartbeats, and read when it is over."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sightline.datasets.synthetic import draw
from sightline.documents import Attempt, TrainDocument, read
from tests.faults import hooks

ROOT = Path(__file__).parents[2]
IMAGES = {"train": 32, "val": 16, "test": 8}  # of the drawn set
SETTINGS = {
    **{"epochs": 3, "image_size": 64, "batch": 8, "cpu_processes": 2, "workers": 0, "nominal_batch": 8},
    **{"warmup_epochs": 1, "augment.mosaic": 0, "hook": "tests.faults.hooks:meet"},
}
WEIGHTS = "yolo11n.yaml"
LONGEST = 240  # seconds that a training may take


class WentWrong(AssertionError):
    """A case did not end as it must."""


def expect(holds: object, what: object) -> None:
    """Fail a case unless something holds."""
    if not holds:
        raise WentWrong(str(what))


@cache
def prepared(folder: Path) -> Path:
    """Draw a small set and validate it, once for all cases; returns `folder`, with `run`, `store` and `cache` in it."""
    draw(folder / "data")
    for split, count in IMAGES.items():
        for path in sorted((folder / "data" / "images" / split).iterdir())[count:]:
            path.unlink()
            (folder / "data" / "labels" / split / f"{path.stem}.txt").unlink()
    command = ["validate", "--data", "data", "--weights", WEIGHTS, "--run", "run", "--policy", "lenient"]
    done = subprocess.run(
        sightline(*command), cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
    )
    expect(done.returncode == 0, done.stdout + done.stderr)
    return folder


def sightline(*arguments: str) -> list[str]:
    """Return the command line of `sightline`."""
    return [sys.executable, "-m", "sightline", *arguments]


def environment(base: Path) -> dict[str, str]:
    """Return the environment of a user whose store and caches lie in `base`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MLFLOW_", "SIGHTLINE_"))}
    path = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
    return {**kept, "PYTHONPATH": path, "SIGHTLINE_STORE": f"file://{base}/store", "SIGHTLINE_CACHE": f"{base}/cache"}


class Stand:
    """One training under a fault, in a folder of its own."""

    def __init__(self, folder: Path, base: Path, ranks: Sequence[int] | None = None) -> None:
        """Take the validated run in `base`; `ranks` are those of this machine, by default all."""
        self.ranks = ranks
        self.folder, self.base = folder, prepared(base)
        self.work, self.run, self.faults = folder / "work", folder / "run", folder / "faults"
        self.faults.mkdir(parents=True)
        shutil.copytree(self.base / "run", self.run)
        self.variables = {
            **environment(self.base),
            **{"SIGHTLINE_WORK": str(self.work), hooks.FOLDER: str(self.faults)},
        }
        # Of each case another one: who wants the same as a finished training gets that out of the store.
        self.settings: dict[str, object] = {**SETTINGS, "seed": zlib.crc32(folder.name.encode()) % 1000}
        self.started: list[Started] = []
        self.struck: float | None = None  # when the fault was put, on the monotonic clock

    def start(self, *before: str, options: Sequence[str] = (), **settings: object) -> Started:
        """Start `sightline train`, behind the words `before`, with settings that stay for later starts."""
        self.settings.update(settings)
        return self._start([*before, *sightline("train", "--run", str(self.run), *options, *self._words())])

    def start_run(self, name: str) -> Started:
        """Start `sightline run` under this name."""
        self.run = self.folder / "runs" / name
        data = ["--data", str(self.base / "data"), "--weights", WEIGHTS, "--policy", "lenient", "--gpus", "0"]
        return self._start(sightline("run", "--run-id", name, "--preset", "quickstart", *data, *self._words()))

    def _words(self) -> list[str]:
        return [text for name, value in self.settings.items() for text in ("--set", f"train.{name}={value}")]

    def _start(self, command: Sequence[str]) -> Started:
        self.started.append(Started(command, self))
        return self.started[-1]

    def strike(self, fault: Callable[[], object]) -> None:
        """Put a fault while the processes wait in mid-epoch, and let them go on."""
        self.struck = time.monotonic()
        fault()
        (self.faults / hooks.GO).touch()

    def attempts(self) -> list[Attempt]:
        """Return the attempts of a training that failed or was killed, as its work folder has them."""
        [path] = self.work.glob("*/attempts.json")
        return [Attempt.model_validate(each) for each in json.loads(path.read_bytes())["attempts"]]

    def checkpoints(self) -> list[Path]:
        """Return the states in the work folder, the oldest first."""
        return sorted(self.work.glob("*/checkpoints/epoch-*.pt"))

    def document(self) -> TrainDocument:
        """Return what a training left that was finished."""
        return read(TrainDocument, self.run / "train")

    def seconds(self) -> float | None:
        """Return the seconds from the fault to the next step of training; None where there was none."""
        struck = self.struck
        if struck is None:
            marks = [float(path.read_text()) for path in self.faults.glob("struck-?")]
            struck = min(marks, default=None)
        steps = [step for each in self.started for step in each.signs.first_steps.values()]
        later = [step for step in steps if struck is not None and step > struck]
        return min(later) - struck if later and struck is not None else None

    def close(self) -> None:
        """End what a failed case left running."""
        for each in self.started:
            each.close()


class Started:
    """A process of `sightline train`, and what it prints."""

    def __init__(self, command: Sequence[str], stand: Stand) -> None:
        """Start it."""
        self.stand = stand
        self.output_path = stand.folder / f"output-{len(stand.started) + 1}.txt"
        self.signs = Signs(stand.work)
        with self.output_path.open("wb") as file:
            self.process = subprocess.Popen(
                command, cwd=stand.folder, env=stand.variables, stdout=file, stderr=subprocess.STDOUT
            )

    @property
    def output(self) -> str:
        """What it has printed so far, in one line."""
        return " ".join(self.output_path.read_text(encoding="utf-8", errors="replace").split())

    def met(self) -> dict[int, int]:
        """Wait until all training processes wait in mid-epoch; returns their numbers by rank."""
        ranks = self.stand.ranks or range(int(str(self.stand.settings["cpu_processes"])))
        self.until(lambda: all((self.stand.faults / hooks.MET.format(rank=rank)).exists() for rank in ranks))
        return self.signs.processes()

    def until(self, holds: Callable[[], object], seconds: float = LONGEST) -> None:
        """Wait for something while the process runs."""
        deadline = time.monotonic() + seconds
        while not holds():
            expect(self.process.poll() is None, f"it ended too early ({self.process.returncode}): {self.output[-600:]}")
            expect(time.monotonic() < deadline, f"it took more than {seconds:.0f} s: {self.output[-600:]}")
            time.sleep(0.05)

    def wait(self, seconds: float = LONGEST) -> int:
        """Wait for its end; returns the exit code."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise WentWrong(f"it took more than {seconds:.0f} s: {self.output[-600:]}") from None
        self.signs.stop()
        return code

    def close(self) -> None:
        """End it and its ranks, which end with it."""
        self.process.kill()
        self.process.wait()
        self.signs.stop()


class Signs(threading.Thread):
    """Follows the heartbeats of all attempts."""

    def __init__(self, work: Path) -> None:
        """Look into the work folders below `work`."""
        super().__init__(daemon=True)
        self.work = work
        self.first_steps: dict[str, float] = {}  # of each attempt, on the monotonic clock
        self.beats: dict[str, dict[int, dict[str, Any]]] = {}  # the newest of each attempt, by rank
        self._stop_asked = threading.Event()
        self._before = {path.name for path in work.glob("*/attempt-*")}
        self.start()

    def run(self) -> None:
        """Look twenty times a second."""
        while not self._stop_asked.wait(0.05):
            with contextlib.suppress(OSError):  # the work folder goes when the training is over
                for path in self.work.glob("*/attempt-*/heartbeat-*.json"):
                    self._note(path.parent.name, json.loads(path.read_bytes()))

    def _note(self, attempt: str, beat: dict[str, Any]) -> None:
        if attempt not in self._before:
            self.beats.setdefault(attempt, {})[beat["rank"]] = beat
            if beat["step"]:
                self.first_steps.setdefault(attempt, beat["time"])

    def processes(self) -> dict[int, int]:
        """Return the training processes of the newest attempt, by rank."""
        newest = max(self.beats, key=lambda name: int(name.rpartition("-")[2]))
        return {rank: int(beat["pid"]) for rank, beat in sorted(self.beats[newest].items())}

    def stop(self) -> None:
        """End."""
        self._stop_asked.set()


def kill(*numbers: int) -> None:
    """Send processes SIGKILL."""
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):  # its parent was killed before it
            os.kill(number, signal.SIGKILL)


def parent(number: int) -> int:
    """Return the parent of a process."""
    return int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])


def children(number: int) -> list[int]:
    """Return the processes that a process started."""
    found: list[int] = []
    for task in Path(f"/proc/{number}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def gone(numbers: Sequence[int], seconds: float = 20) -> None:
    """Wait until processes are no more."""
    deadline = time.monotonic() + seconds
    for number in numbers:
        while True:
            try:
                if "State:\tZ" in Path(f"/proc/{number}/status").read_text():
                    break
            except OSError:
                break
            expect(time.monotonic() < deadline, f"process {number} outlives the training")
            time.sleep(0.05)
