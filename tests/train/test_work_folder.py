"""The work folder of a training: one process at a time, nothing of a dead one, and one training for all who want it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline.config import TrainConfig
from sightline.datasets.synthetic import draw
from sightline.documents import TrainDocument, read
from sightline.errors import ConfigError, SightlineError, StorageUsageError, TrainError
from sightline.runtime import progress
from sightline.storage.lock import Lock
from sightline.storage.work_root import work_root
from sightline.train.work_folder import Finished, WorkFolder, claimed, training_key
from sightline.validate import preflight
from tests.helpers import documents

pytestmark = pytest.mark.timeout(300)
TINY = ["train.epochs=1", "train.image_size=32", "train.batch=16", "train.augment.mosaic=0"]
KEY = "5e" * 32


def until(true: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- which folder


def test_what_decides_a_result_is_in_the_key_and_where_the_data_lies_is_not() -> None:
    base = {"snapshot": "file:///a/snapshots/11", "weights": "0e" * 32, "config": TrainConfig(), "code": "c0"}
    others = [
        base,
        base | {"snapshot": "file:///a/snapshots/12"},
        base | {"weights": "yolo11n.yaml"},
        base | {"config": TrainConfig(seed=1)},
        base | {"code": "c1"},
    ]
    assert len({training_key(**values) for values in others}) == 5
    assert training_key(**base | {"snapshot": "s3://bucket/b/snapshots/11"}) == training_key(**base)
    for values in ({"max_hours": 2}, {"cache": "ram"}, {"cache": "disk"}, {"tensorboard": False}):
        assert training_key(**base | {"config": TrainConfig(**values)}) == training_key(**base)


def test_every_setting_that_changes_the_model_is_in_the_key() -> None:
    base = {"snapshot": "file:///a/snapshots/11", "weights": "0e" * 32, "code": "c0"}
    changed: list[dict[str, Any]] = [
        *({"optimizer": name} for name in ("auto", "SGD", "NAdam")),
        *({"warmup_momentum": 0.5}, {"warmup_bias_lr": 0.1}, {"box": 1}, {"cls": 1}, {"dfl": 1}),
        *({"class_weight_power": 1}, {"cls_remap": False}, {"multi_scale": 0.5}, {"deterministic": False}),
        *({"patience": 0}, {"freeze": 3}, {"freeze": [3]}, {"freeze": ["22.cv2"]}, {"engine": {"conf": 0.1}}),
        *({"augment": {name: 0.001}} for name in ("shear", "perspective", "bgr", "cutmix")),
        *({"rect": True, "augment": {"mosaic": 0}}, {"single_class": True}),
    ]
    keys = {training_key(config=TrainConfig(**values), **base) for values in [{}, *changed]}
    assert len(keys) == len(changed) + 1


def test_the_place_is_in_the_folder_of_runs_in_a_pod_in_the_cache_and_a_setting_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert work_root() == tmp_path / "runs" / "work"
    assert work_root(tmp_path / "other") == tmp_path / "other" / "work"
    monkeypatch.delenv("SIGHTLINE_RUNS")
    assert work_root() == tmp_path / "cache" / "work"
    monkeypatch.setenv("SIGHTLINE_WORK", str(tmp_path / "disk"))
    assert work_root() == work_root(tmp_path / "other") == tmp_path / "disk"


@pytest.mark.parametrize(
    ("place", "kind", "words"),
    [
        ("/dev/null/work", StorageUsageError, "/dev/null/work cannot be used: not a directory. Set SIGHTLINE_WORK to"),
        (
            "~nouser/work",
            ConfigError,
            "SIGHTLINE_WORK: got '~nouser/work', and there is no user 'nouser'",
        ),
        ("/tmp/a?b", ConfigError, "SIGHTLINE_WORK: got '/tmp/a?b'; the training engine cannot use a path with '?'"),
    ],
)
def test_a_place_that_cannot_be_used_is_named_with_its_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str, kind: type[SightlineError], words: str
) -> None:
    monkeypatch.setenv("SIGHTLINE_WORK", place)
    with pytest.raises(kind, match=re.escape(words)):
        work(tmp_path / "out")


@pytest.mark.parametrize("place", ["/dev/null/work", "~nouser/work", "/proc/work"])
def test_such_a_place_is_refused_with_all_other_mistakes_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str
) -> None:
    monkeypatch.setenv("SIGHTLINE_WORK", place)
    monkeypatch.chdir(tmp_path)
    wrong = preflight.mistakes("quickstart", {"sample.pictures": "nowhere"}, source="quickstart", store="store")
    assert len(wrong) == 2
    assert place in wrong[0]
    assert "nowhere does not exist" in wrong[1]
    monkeypatch.setenv("SIGHTLINE_WORK", "here/work")  # counts from the working directory, and is not made
    assert preflight.mistakes("quickstart", {}, source="quickstart", store="store") == []
    assert work_root() == tmp_path / "here" / "work"
    assert list(tmp_path.iterdir()) == []


# --- one at a time


def work(out: Path, error: Exception | None = None, during: Callable[[Path], None] | None = None) -> WorkFolder | None:
    """Train as a process does, or take the result of another; returns the folder if it was needed."""
    out.mkdir(exist_ok=True)
    with claimed(KEY, out) as found:
        if isinstance(found, TrainDocument):
            found.write(out)
            return None
        found.folder.mkdir(exist_ok=True)
        (found.folder / "checkpoint").touch()
        if during:
            during(found.folder)
        if error:
            raise error
        (out / "best.pt").write_bytes(b"weights")
        (out / "train.log").write_text("epoch 1")
        (out / "tensorboard").mkdir()
        (out / "tensorboard" / f"events.{out.name}").touch()
        documents.train().write(out)
        return found


@pytest.fixture
def another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], threading.Thread]]:
    """Begins the same training in a thread (locks of one process exclude each other too), and waits until it waits."""
    events = tmp_path / "events"
    events.touch()
    monkeypatch.setenv(progress.VARIABLE, str(events))
    threads: list[threading.Thread] = []

    def begin() -> threading.Thread:
        threads.append(threading.Thread(target=work, args=[tmp_path / "second"]))
        threads[0].start()
        until(lambda: progress.events(events)[0])
        return threads[0]

    yield begin
    threads[0].join(10)


def test_who_wants_the_same_training_waits_and_takes_its_result(another: Callable, tmp_path: Path) -> None:
    def during(folder: Path) -> None:
        assert another().is_alive()
        assert folder.parent == tmp_path / "runs" / "work"

    (tmp_path / "second" / "tensorboard").mkdir(parents=True)
    (tmp_path / "second" / "tensorboard" / "events.of-an-earlier-training").touch()
    assert work(tmp_path / "first", during=during)
    until(lambda: (tmp_path / "second" / "train.json").exists())
    assert [path.name for path in (tmp_path / "second" / "tensorboard").iterdir()] == ["events.first"]
    [notice, note], _ = progress.events(tmp_path / "events")
    assert notice["text"].startswith(f"the same training is going on in {tmp_path}/first (process {os.getpid()}) since")
    assert note["note"] == f"taken from {tmp_path}/first, which did the same training meanwhile"
    assert (tmp_path / "second" / "best.pt").samefile(tmp_path / "first" / "best.pt")
    assert read(TrainDocument, tmp_path / "second") == read(TrainDocument, tmp_path / "first")
    assert list((tmp_path / "runs" / "work").iterdir()) == []
    assert work(tmp_path / "later"), "only those who waited take a result"


def test_a_failed_training_is_done_by_the_one_that_waits(another: Callable, tmp_path: Path) -> None:
    with pytest.raises(TrainError):
        work(tmp_path / "first", TrainError("it broke"), lambda _: another())
    until(lambda: (tmp_path / "second" / "train.json").exists())
    assert (tmp_path / "second" / "best.pt").exists()
    assert not (tmp_path / "first" / "best.pt").exists()


def test_a_result_that_is_not_whole_is_not_taken(another: Callable, tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "best.pt").write_bytes(b"damaged")
    documents.train().write(tmp_path / "first")
    place = tmp_path / "runs" / "work"
    place.mkdir(parents=True)
    with Lock(place / f"{KEY}.lock") as lock:
        lock.take()
        another()
        lock.path.unlink()
        files = {"best.pt": "0" * 64}
        lock.write(Finished(run="first", folder=str(tmp_path / "first"), files=files).model_dump_json())
    until(lambda: (tmp_path / "second" / "train.json").exists())
    assert (tmp_path / "second" / "best.pt").read_bytes() == b"weights"


def test_a_folder_stays_after_a_failure_and_goes_after_a_success_or_a_refusal(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "work" / KEY
    for error, stays in ((TrainError("x"), True), (KeyboardInterrupt(), True), (ConfigError("x"), False)):
        with pytest.raises(type(error)):
            work(tmp_path / "out", error)
        assert (folder / "checkpoint").exists() == stays
        assert folder.with_suffix(".lock").exists() == stays
    assert work(tmp_path / "out")
    assert list(folder.parent.iterdir()) == []


# --- with real trainings


@pytest.fixture
def start(command: Callable, tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Starts the same training for a run directory, which does not outlive the test; stderr is in a file."""
    draw(tmp_path / "data")
    options = [text for value in TINY for text in ("--set", value)]
    done = command("validate", "--data", "data", "--weights", "yolo11n.yaml", "--run", "one", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    processes: list[subprocess.Popen[bytes]] = []

    def started(name: str) -> subprocess.Popen[bytes]:
        if name != "one":
            shutil.copytree(tmp_path / "one" / "validate", tmp_path / name / "validate")
        with (tmp_path / f"{name}.err").open("wb") as err:
            command = [sys.executable, "-m", "sightline", "train", "--run", name]
            processes.append(subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=err))
        return processes[-1]

    yield started
    for process in processes:
        process.kill()
        process.wait()


def test_after_kill_9_the_next_one_goes_on_in_its_folder_and_a_third_takes_its_result(
    start: Callable, tmp_path: Path
) -> None:
    place = tmp_path / "runs" / "work"
    first = start("one")
    until(lambda: list(place.glob("*/attempt-1/args.yaml")))  # the engine is at work
    [attempt] = place.glob("*/attempt-1")
    for name, text in (("refused.txt", "stale"), ("result.json", "{}"), ("failed-0.json", "{}")):
        (attempt / name).write_text(text)
    second = start("two")
    said = f"the same training is going on in {tmp_path}/one/train (process {first.pid}) since "
    until(lambda: said in (tmp_path / "two.err").read_text())
    first.send_signal(signal.SIGKILL)
    first.wait()
    until(lambda: (tmp_path / "two" / "train" / "train.log").exists())
    third = start("three")
    assert (second.wait(120), third.wait(20)) == (0, 0), (tmp_path / "two.err").read_text()

    trained, taken = read(TrainDocument, tmp_path / "two" / "train"), read(TrainDocument, tmp_path / "three" / "train")
    assert trained == taken
    assert (trained.epochs_completed, [attempt.ending for attempt in trained.attempts]) == (1, ["killed", "finished"])
    for name in ("best.pt", "last.pt", "train.log"):
        assert (tmp_path / "two" / "train" / name).samefile(tmp_path / "three" / "train" / name)
    assert f"(process {second.pid})" in (tmp_path / "three.err").read_text()
    assert f"taken from {tmp_path}/two/train" in (tmp_path / "three.err").read_text()
    assert not (tmp_path / "one" / "train" / "train.json").exists()
    assert list(place.iterdir()) == []
