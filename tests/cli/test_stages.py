"""`sightline train`: where it works, and what it is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.cli.options import progress_display
from sightline.storage.work_root import work_root


def test_a_stage_works_where_a_whole_run_of_that_folder_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So that `sightline train` goes on with what a killed `sightline run` left."""
    for name in ("SIGHTLINE_RUNS", "SIGHTLINE_STORE"):
        monkeypatch.setenv(name, "")  # put back after the test, which sets them
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    with progress_display(True, Path("runs/mine")):
        assert work_root() == tmp_path / "runs" / "work" == work_root(Path("runs"))


def test_resume_is_auto_or_off(command: Callable, tmp_path: Path) -> None:
    done = command("train", "--run", "r", "--resume", "maybe", cwd=tmp_path)
    assert done.returncode == 2
    assert "got 'maybe', expected auto or off." in " ".join(done.stderr.split())
