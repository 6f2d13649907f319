"""A run's folder from claim to end: one command at a time, whatever kills it, and nothing left where none can run."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sightline.orchestrate.processes import of_run
from tests.helpers.small_disk import mounted

pytestmark = pytest.mark.timeout(120)
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def until(true: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextlib.contextmanager
def begun(run_id: str, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run that has reached validate, in a process of its own, killed at the end."""
    arguments = [sys.executable, "-m", "sightline", "run", "--run-id", run_id]
    run = subprocess.Popen(arguments, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        events = cwd / "runs" / run_id / "progress.jsonl"
        until(lambda: run.poll() is not None or (events.exists() and "checking images" in events.read_text()))
        yield run
    finally:
        run.kill()
        run.wait()
        until(lambda: not of_run((cwd / "runs" / run_id).resolve()))


def test_one_id_one_command_and_a_killed_one_is_put_on_record_and_started_again(
    command: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "runs" / "mine"
    with begun("mine", tmp_path) as run:
        second = command("run", "--run-id", "mine", cwd=tmp_path)
        stage = command(
            "validate", "--data", "quickstart", "--weights", "yolo11n.yaml", "--run", str(folder), cwd=tmp_path
        )
        assert run.poll() is None
        for refused in (second, stage):
            assert refused.returncode == 2
            assert f"A run is going on in {folder}" in refused.stderr
        assert len(of_run(folder.resolve())) >= 2
        run.kill()
        run.wait()
        until(lambda: not of_run(folder.resolve()), 20)  # no child outlives it
    assert not (folder / "summary.json").exists()
    assert (folder / "tmp").exists()

    other = command("run", "--run-id", "other", "--data", "nowhere", "--preset", "quickstart", cwd=tmp_path)
    assert "note: run mine was cut off; it is now recorded as failed" in other.stderr
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["error"]["kind"]) == ("failed", "interrupted")
    assert summary["started_at"] <= summary["finished_at"]
    assert (folder / "report.html").exists()
    assert not (folder / "tmp").exists()
    assert "run the same command again" in other.stdout

    again = command("run", "--json", "--run-id", "mine", "--data", "gone", "--preset", "quickstart", cwd=tmp_path)
    assert again.returncode == 2
    assert "gone does not exist" in json.loads(again.stdout)["error"]["message"]
    assert json.loads((folder / "summary.json").read_text()) == json.loads(again.stdout)


DAMAGED = [
    '{"event": "start", "time": 1}',
    '{"event": "start", "time": 1, "stage": null}',
    '{"event": "start", "time": 1, "stage": "../../x"}',
    '{"event": "end", "time": 1}',
    '{"event": "end", "time": 1, "stage": "validate", "seconds": "long"}',
    '{"event": "failed", "stage": "validate", "seconds": 1}',
    '{"event": "end", "time": 1e300, "stage": "validate", "seconds": 1e300}',
    '{"event": "end", "time": NaN, "stage": "validate", "seconds": NaN}',
    '{"event": "note", "time": 1, "stage": "train"}',
    '{"event": "end", "time": 1, "stage": "report", "seconds": "1", "folders": 3}',
    '{"event": ["start"], "time": 1}',
    '{"event": "unheard", "time": 1}',
    "[" * 100_000,
]


def test_damaged_events_of_a_dead_run_stop_no_other_run(command: Command, tmp_path: Path) -> None:
    for number, line in enumerate([*DAMAGED, "\n".join(DAMAGED)]):
        folder = tmp_path / "runs" / f"dead-{number}"
        folder.mkdir(parents=True)
        (folder / ".lock").touch()
        (folder / "arguments.json").write_text("[]")
        (folder / "progress.jsonl").write_text(line + "\n")
    done = command("run", "--run-id", "other", "--data", "nowhere", "--preset", "quickstart", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "nowhere does not exist" in done.stdout
    assert "Traceback" not in done.stderr
    assert done.stderr.count("it is now recorded as failed") == len(DAMAGED) + 1
    assert not (tmp_path / "x").exists()
    for number in range(len(DAMAGED) + 1):
        summary = json.loads((tmp_path / "runs" / f"dead-{number}" / "summary.json").read_text())
        assert (summary["status"], summary["error"]["kind"]) == ("failed", "interrupted")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("registered", "ended as registered"),
        ("rejected", "ended as rejected"),
        ("accepted", "ended as accepted"),
        ("unchanged", "ended as unchanged"),
        (None, "does not say how its run ended"),
    ],
)
def test_only_a_failed_run_is_started_again(command: Command, tmp_path: Path, status: str | None, words: str) -> None:
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    (folder / ".lock").touch()
    (folder / "summary.json").write_text(json.dumps({"status": status}))
    before = sorted(folder.iterdir())
    done = command("run", "--run-id", "a", cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Choose another --run-id" in done.stderr
    assert sorted(folder.iterdir()) == before


def test_folder_that_no_run_made_is_left_alone(command: Command, tmp_path: Path) -> None:
    (tmp_path / "runs" / "thesis").mkdir(parents=True)
    (tmp_path / "runs" / "thesis" / "chapter.tex").touch()
    done = command("run", "--run-id", "thesis", cwd=tmp_path)
    assert done.returncode == 2
    assert "no `sightline run` made it" in done.stderr
    assert [path.name for path in (tmp_path / "runs").rglob("*")] == ["thesis", "chapter.tex"]


def test_full_disk_is_named_at_the_start_and_the_id_stays_free(command: Command, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "8k") as disk:
        (disk / "full").write_bytes(bytes(8192))
        done = command("run", "--runs", str(disk / "runs"), "--run-id", "a", cwd=tmp_path)
        assert done.returncode == 1
        assert (
            "No space left for the checkpoints of a model of size n and the result of a model of size n" in done.stderr
        )
        assert "it needs 134.3 MB" in done.stderr
        assert f"0 bytes are free in {disk}" in done.stderr
        assert "or set SIGHTLINE_WORK (where trainings work) or --runs" in done.stderr
        assert [path.name for path in disk.rglob("*")] == ["full"]


@pytest.mark.parametrize("stage", ["run", "validate"])
def test_home_that_cannot_be_written_is_said_before_anything_starts(
    command: Command, tmp_path: Path, stage: str
) -> None:
    where = (
        ["--run-id", "a"] if stage == "run" else ["--data", "quickstart", "--weights", "yolo11n.yaml", "--run", "r/a"]
    )
    done = command(stage, *where, cwd=tmp_path, HOME="/dev/null", SIGHTLINE_CACHE="")
    assert done.returncode == 2
    assert "The cache /dev/null/.cache/sightline cannot be written: not a directory." in done.stderr
    assert "Set SIGHTLINE_CACHE to a folder" in done.stderr
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--runs", "a?b", "cannot use a path with '?'"),
        ("--runs", "{{$.inputs}}", "'{{$'"),
        ("--runs", "a\nb", "line breaks"),
        ("--runs", os.fsdecode(b"\xff"), "cannot be printed"),
        ("--runs", "/".join(["x" * 200] * 3), "expected at most 300"),
        ("--run-id", "store", "none of mlartifacts"),
        ("--run-id", "mlflow.db-journal", "none of mlartifacts, mlflow.db…, store, work"),
        ("--run-id", "mlflow.db-wal", "none of mlartifacts"),
        ("--run-id", "Store", "none of mlartifacts"),
        ("--run-id", ".hidden", "the first of them a letter or digit"),
        ("--runs", "~no-such-user/" + "x" * 400, "characters, expected at most 300"),
        ("--run-id", "x" * 129, "at most 128"),
        ("--run-id", "it's", "expected letters"),
        ("--run-id", "", "expected letters"),
        ("SIGHTLINE_CACHE", "a[b]", "takes for a pattern"),
    ],
)
def test_paths_that_cannot_work_are_refused_at_once(
    command: Command, tmp_path: Path, option: str, value: str, words: str
) -> None:
    variables = {} if option.startswith("--") else {option: value}
    arguments = ["run", f"{option}={value}"] if option.startswith("--") else ["run"]
    done = command(*arguments, cwd=tmp_path, **variables)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
