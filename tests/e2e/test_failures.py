"""Runs that must not succeed: each ends with its one message, its exit code, and nothing half-written."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(300)
TINY = ("--set", "train.epochs=1", "--set", "train.image_size=32", "--set", "train.batch=16")


@pytest.mark.slow
def test_known_training_is_not_repeated_unless_asked(command: Callable, tmp_path: Path) -> None:
    def run(run_id: str, *more: str) -> dict:
        done = command("run", "--json", "--run-id", run_id, *TINY, *more, cwd=tmp_path)
        assert done.returncode == 3
        return json.loads(done.stdout)

    first, second, third = run("first"), run("second"), run("third", "--no-cache")
    for summary in (first, second, third):
        assert (summary["status"], summary["rejected_by"]) == ("rejected", "score")
        assert summary["register"] is None
    trained = [summary["stages"][1]["status"] for summary in (first, second, third)]
    assert trained == ["done", "cached", "done"]
    assert len({summary["export"]["sha256"] for summary in (first, second)}) == 1
    assert "Rejected" in (tmp_path / "runs" / "second" / "report.html").read_text()


@pytest.mark.slow
def test_damaged_training_is_done_again_in_paths_of_any_kind(command: Callable, tmp_path: Path) -> None:
    """Quotes, spaces and placeholders in paths reach the engine and the runner as they are."""
    from sightline.datasets.synthetic import draw

    strange = 'it\'s a "q" & $x `y` #1 100% %41 (b) ün\\c python3 -d'
    data = draw(tmp_path / f"{{{{$.inputs}}}} {strange} ?")
    runs = tmp_path / strange / "runs"

    def run(run_id: str) -> dict:
        done = command(
            *("run", "--json", "--runs", str(runs), "--run-id", run_id, "--data", str(data), "--preset", "quickstart"),
            *TINY,
            cwd=tmp_path,
            SIGHTLINE_CACHE=str(tmp_path / "it's a cache"),
            HOME="/dev/null",
        )
        assert done.returncode == 3, done.stdout + done.stderr
        return json.loads(done.stdout)

    first = run("first")
    best = runs / "first" / "train" / "best.pt"
    [stored] = [path for path in (runs / "store" / "files").iterdir() if path.read_bytes() == best.read_bytes()]
    stored.write_bytes(stored.read_bytes()[:1000])
    second = run("second")
    train = second["stages"][1]
    assert (train["status"], first["stages"][1]["note"]) == ("done", None)
    assert "(best.pt) was changed or damaged; done again" in train["note"]
    assert second["train"]["epochs_completed"] == 1


@pytest.mark.slow
def test_full_disk_in_training_names_folder_need_and_rest(command: Callable, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", disk], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"needs the right to mount a small file system: {made.stderr.decode().strip()}")

    def fill_once_the_training_is_under_way() -> None:
        while not list(disk.glob("runs/work/*/attempt-1/job.json")):
            time.sleep(0.05)
        (disk / "other").write_bytes(bytes(shutil.disk_usage(disk).free - 4_000_000))

    threading.Thread(target=fill_once_the_training_is_under_way, daemon=True).start()
    try:
        done = command("run", "--json", "--runs", str(disk / "runs"), "--run-id", "a", *TINY, cwd=tmp_path,
                       SIGHTLINE_STORE=f"file://{disk}/store")  # fmt: skip
        error = json.loads(done.stdout)["error"]
        assert (done.returncode, error["stage"], error["kind"]) == (1, "train", "storage")
        assert "No space left for training with its checkpoints: it needs " in error["message"]
        assert f"are free in {disk}/runs/work" in error["message"]
        assert "set SIGHTLINE_WORK" in error["message"]
        assert not list(disk.rglob("*.pt")) + list(disk.rglob("tmp")) + list(disk.rglob("*.tmp"))
    finally:
        subprocess.run(["umount", disk], check=True)


def test_all_configuration_mistakes_at_once_before_training(command: Callable, tmp_path: Path) -> None:
    done = command(
        *("run", "--json", "--preset", "fats", "--weights", "nowhere.pt"),
        *("--set", "train.epoch=3", "--set", "train.lr0=9", "--set", "train.optimizer=Adamm"),
        cwd=tmp_path,
    )
    summary = json.loads(done.stdout)
    message = summary["error"]["message"]
    assert done.returncode == 2
    assert (summary["error"]["stage"], summary["error"]["kind"]) == ("validate", "configuration")
    for part in ("did you mean 'fast'?", "did you mean 'train.epochs'?", "train.lr0", "'Adamm'", "nowhere.pt"):
        assert part in message
    assert [stage["status"] for stage in summary["stages"]] == ["failed"] + ["skipped"] * 6
    [events] = (tmp_path / "runs").glob("*/progress.jsonl")
    assert events.read_text().count('"failed"') == 1, "a mistake is not tried again"


def test_rejected_data_is_a_rejection_not_a_crash(command: Callable, tmp_path: Path) -> None:
    from sightline.datasets.synthetic import draw

    draw(tmp_path / "data")
    (tmp_path / "data" / "labels" / "train" / "smear_train_003.txt").write_text("0 0.5 0.5 0.2\nx 0.5 0.5 0.1 0.1\n")
    done = command("run", "--json", "--data", "data", "--preset", "quickstart", cwd=tmp_path)
    summary = json.loads(done.stdout)
    assert done.returncode == 3
    assert (summary["status"], summary["rejected_by"]) == ("rejected", "data")
    assert "smear_train_003.txt:1" in summary["error"]["message"]
    assert "smear_train_003.txt:2" in summary["error"]["message"]
    assert not (tmp_path / "store" / "snapshots").exists()


def test_interruption_stops_the_training_and_says_so(tmp_path: Path) -> None:
    """Somebody stops the command in the middle of an epoch: no process of the run outlives it."""
    run = subprocess.Popen(
        [sys.executable, "-m", "sightline", "run", "--run-id", "stopped", "--preset", "quickstart"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    events = tmp_path / "runs" / "stopped" / "progress.jsonl"
    deadline = time.monotonic() + 90
    while not (events.exists() and "epoch 1/20" in events.read_text()):
        assert time.monotonic() < deadline
        assert run.poll() is None
        time.sleep(0.2)
    assert workers(tmp_path)
    run.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 60
    while run.poll() is None:  # somebody in a hurry, up to the very end of the process
        assert time.monotonic() < deadline
        time.sleep(0.05)
        run.send_signal(signal.SIGINT)
    output, _ = run.communicate()
    summary = json.loads((tmp_path / "runs" / "stopped" / "summary.json").read_text())
    assert run.returncode == 130
    assert summary["status"] == "failed"
    assert (summary["error"]["kind"], summary["error"]["stage"]) == ("interrupted", "train")
    assert [stage["status"] for stage in summary["stages"]] == ["done", "failed"] + ["skipped"] * 5
    assert not (tmp_path / "runs" / "stopped" / "tmp").exists()
    assert "Traceback" not in output
    deadline = time.monotonic() + 20
    while workers(tmp_path):
        assert time.monotonic() < deadline, workers(tmp_path)
        time.sleep(0.2)


@pytest.mark.slow
def test_killed_command_takes_its_training_with_it(tmp_path: Path) -> None:
    """A training must not outlive its command, not even one killed by SIGKILL."""
    run = subprocess.Popen(
        [sys.executable, "-m", "sightline", "run", "--run-id", "killed", "--preset", "quickstart"], cwd=tmp_path
    )
    events = tmp_path / "runs" / "killed" / "progress.jsonl"
    deadline = time.monotonic() + 90
    while not (events.exists() and "epoch 1/20" in events.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    run.kill()
    run.wait()
    deadline = time.monotonic() + 40
    while workers(tmp_path):
        assert time.monotonic() < deadline, workers(tmp_path)
        time.sleep(0.2)


def workers(folder: Path) -> list[str]:
    """Command lines of the processes that work in a folder."""
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and (process / "cwd").resolve() == folder.resolve():
                found.append((process / "cmdline").read_text().replace("\0", " ")[:200])
    return found


def test_no_tracking_server_is_said_before_anything_starts(command: Callable, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    wrong = ("--set", "train.freeze=9999", "--set", "register.alias=v1", "--weights", "nowhere.pt")
    done = command("run", "--run-id", "r", *wrong, cwd=tmp_path, MLFLOW_TRACKING_URI=address)
    assert done.returncode == 2
    assert "register.alias: got 'v1'" in done.stderr
    assert "'nowhere.pt' was not found" in done.stderr
    assert f"No MLflow server answers at {address}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["validate", "--data", "nowhere", "--run", "r"], 2, "nowhere does not exist"),
        (["validate", "--data", "s3://b", "--weights", "yolo11n.yaml", "--run", "r"], 2, "s3://b"),
        (["train", "--run", "r"], 2, "expected the folder that `sightline validate` wrote"),
        (["export", "--run", "r"], 2, "validate.json"),
        (["config", "--preset", "acurate"], 2, "did you mean 'accurate'?"),
        (["config", "--set", "epochs"], 2, "expected key=value"),
        (["train", "--run", "/dev/null/x"], 2, "not a directory"),
        (["run", "--runs", "/proc/nope"], 2, "/proc/nope"),
        (["run", "--run-id", "../up"], 2, "expected letters, digits"),
        (["validate", "--data", "x" * 300, "--weights", "yolo11n.yaml", "--run", "r"], 2, "does not exist"),
        (["validate", "--data", "s3://", "--weights", "yolo11n.yaml", "--run", "r"], 2, "got no bucket"),
        (["report", "--run", "nowhere"], 2, "There is no folder nowhere here"),
        (["predict", "--model", "no.onnx", "a.jpg"], 2, "a.jpg cannot be read"),
        (["run", "--unknown"], 2, "No such option"),
    ],
)
def test_usage_mistakes_get_one_message(
    command: Callable, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.json"))
