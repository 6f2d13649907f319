"""A dead run goes on record once, whatever its stages left: what cannot be read is named and left out."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.orchestrate import outcome
from sightline.runtime.stage_frame import NAMES
from tests.helpers.documents import write_run
from tests.helpers.events import write_events

Command = Callable[..., "subprocess.CompletedProcess[str]"]
STAGES = NAMES[:5]


def dead_run(runs: Path, ended: int = 5) -> Path:
    """A run whose command was killed after so many stages."""
    folder = runs / "dead"
    folder.mkdir(parents=True)
    (folder / ".lock").touch()
    (folder / "arguments.json").write_text('{"started_at": "2026-11-28T12:00:00+00:00"}')
    folders = write_run(folder, stages=STAGES[:ended])
    write_events(folder, folders)
    return folder


def recorded(folder: Path) -> dict:
    """Put the run on record, see that it is done once, and return the summary."""
    [note] = outcome.conclude_dead(folder.parent)
    assert note.startswith("run dead was cut off; it is now recorded as failed; left out, as it cannot be read: ")
    assert outcome.conclude_dead(folder.parent) == []
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["status"], summary["error"]["kind"]) == ("failed", "interrupted")
    assert [stage["status"] for stage in summary["stages"]][:5] == ["done"] * 5
    assert "Left out, as it cannot be read: " in summary["error"]["message"]
    assert "Failed" in (folder / "report.html").read_text()
    return summary


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("content", [b'{"schema_version": 1}', b"{", b"", b"\xff", None])
def test_a_document_that_cannot_be_read_is_left_out_and_the_others_stay(
    tmp_path: Path, stage: str, content: bytes | None
) -> None:
    folder = dead_run(tmp_path / "runs")
    document = folder / stage / f"{stage}.json"
    document.unlink()
    if content is None:
        document.mkdir()
    else:
        document.write_bytes(content)
    summary = recorded(folder)
    assert str(folder / stage / f"{stage}.json") in summary["error"]["message"]
    parts = {"validate": "data", "train": "train", "export": "export", "evaluate": "evaluate"}
    for name, part in parts.items():
        assert (summary[part] is None) == (name == stage), name


def test_a_whole_run_of_another_version_is_recorded_without_any_of_it(tmp_path: Path) -> None:
    folder = dead_run(tmp_path / "runs")
    for stage in STAGES:
        path = folder / stage / f"{stage}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 1}))
    summary = recorded(folder)
    assert summary["error"]["message"].count("its schema_version is 1, expected 2") == 5
    assert all(summary[part] is None for part in ("data", "train", "export", "evaluate", "register"))


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # of MLflow, which records the end
def test_a_run_that_lacks_a_document_of_its_own_has_failed_even_after_its_last_stage(tmp_path: Path) -> None:
    folder = dead_run(tmp_path / "runs")
    with (folder / "progress.jsonl").open("a") as file:
        file.writelines(
            json.dumps({"event": "end", "time": 1.8e9 + 9, "stage": stage, "seconds": 1}) + "\n" for stage in NAMES[5:]
        )
    (folder / "train" / "train.json").write_text("{}")
    assert "train.json" in recorded(folder)["error"]["message"]


def test_what_the_page_cannot_show_keeps_no_run_off_the_record(tmp_path: Path) -> None:
    folder = dead_run(tmp_path / "runs")
    (folder / "sample" / "000.jpg").write_bytes(b"")  # as a power cut leaves it
    assert "000.jpg" in recorded(folder)["error"]["message"]


def test_commands_say_it_once(command: Command, tmp_path: Path) -> None:
    folder = dead_run(tmp_path / "runs", ended=2)
    (folder / "train" / "train.json").write_text('{"schema_version": 1}')
    shutil.copytree(folder / "validate", tmp_path / "runs" / "other" / "validate")
    first, second = (command("evaluate", "--run", "runs/other", cwd=tmp_path) for _ in range(2))
    assert "note: run dead was cut off; it is now recorded as failed; left out" in " ".join(first.stderr.split())
    assert "schema_version is 1" in " ".join(first.stderr.split())
    assert "dead" not in second.stderr
    assert first.returncode == second.returncode == 2
