"""A result that outlives this machine: kept before the training is let go of, and taken by those who waited."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline import train
from sightline.config import TrainConfig
from sightline.datasets.synthetic import draw
from sightline.documents import PinnedWeights, TrainDocument
from sightline.runtime import progress
from sightline.storage.lock import Lock
from sightline.storage.work_root import work_root
from tests.helpers import documents

pytestmark = pytest.mark.timeout(300)
TINY = ["train.epochs=1", "train.image_size=32", "train.batch=16", "train.augment.mosaic=0", "train.gpus=0"]
SNAPSHOT, CODE = "s3://data/snapshots/" + "5f" * 32, "c0" * 32
START = PinnedWeights(uri="s3://nowhere/yolo11n.pt", sha256="0e" * 32)


PROGRAM = """
import json, sys
from pathlib import Path
from sightline import train
from sightline.documents import TrainDocument, ValidateDocument, read
from sightline.storage.lock import Lock
from sightline.storage.work_root import work_root

valid, out = read(ValidateDocument, Path("one/validate")), Path("out")
given = dict(
    snapshot=valid.snapshot, config=valid.config.train, weights=valid.weights.reference, code=valid.train_code
)
work, seen = work_root() / train.key(**given), []

class Results:
    def finished(self):
        return None

    def keep(self):
        with Lock(work.with_suffix(".lock")) as lock:
            seen.append([lock.take(wait=False), work.is_dir(), read(TrainDocument, out).epochs_completed])

document = train.run(**given, out=out, results=Results())
print(json.dumps([seen, document.epochs_completed, work.exists()]))
"""


@pytest.mark.slow
def test_a_result_is_kept_while_the_training_is_held_and_its_checkpoints_are_there(
    command: Callable, tmp_path: Path
) -> None:
    """A pod that is lost between the end of a training and its last upload must not cost the training."""
    draw(tmp_path / "data")
    options = [text for value in TINY for text in ("--set", value)]
    done = command("validate", "--data", "data", "--weights", "yolo11n.yaml", "--run", "one", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[[False, True, 1]], 1, False]


class Elsewhere:
    """A place for results, in which another process leaves one."""

    document: TrainDocument | None = None
    kept = 0

    def finished(self) -> TrainDocument | None:
        return self.document

    def keep(self) -> None:
        self.kept += 1


def test_who_waited_takes_a_result_whose_folder_cannot_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pods share the folder of trainings through the claim for their cache, and nothing else."""
    events = tmp_path / "events"
    events.touch()
    monkeypatch.setenv(progress.VARIABLE, str(events))
    given = {"snapshot": SNAPSHOT, "config": TrainConfig(gpus=0), "weights": START, "code": CODE}
    checkpoints = work_root() / train.key(**given) / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "epoch-0001.pt").write_bytes(b"of an earlier attempt")
    results = Elsewhere()
    taken: list[TrainDocument] = []

    def second() -> None:
        taken.append(train.run(**given, out=tmp_path / "out", results=results))

    waiting = threading.Thread(target=second)
    with Lock(work_root() / f"{train.key(**given)}.lock") as lock:
        lock.take()
        waiting.start()
        deadline = time.monotonic() + 30
        while not any(event["event"] == "notice" for event in progress.events(events)[0]):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        results.document = documents.train()
        lock.path.unlink()
        lock.write('{"run": "run r0", "folder": "/in/another/pod", "files": {}}')
    waiting.join(30)
    assert taken == [results.document]
    assert results.kept == 0, "it is kept already"
    assert [event["event"] for event in progress.events(events)[0]] == ["start", "notice", "end"], "no failure"
    assert list(work_root().iterdir()) == []
    assert list((tmp_path / "out").iterdir()) == []
