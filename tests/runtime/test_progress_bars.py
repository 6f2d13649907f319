"""What a log gets of the events of a stage, where there is no terminal."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from sightline.runtime import progress, progress_bars


def test_a_stage_that_prints_lines_of_its_own_is_not_logged_by_its_bar_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, log = tmp_path / "events", io.StringIO()
    events.touch()
    monkeypatch.setenv(progress.VARIABLE, str(events))
    with progress_bars.Bars(events, Console(file=log, width=200)):
        progress.advance("validate", 1, 3, "checking images")
        progress.advance("train", 0, 20, "epoch 1/2")
        for epoch in (1, 2):
            progress.emit("line", stage="train", text=f"epoch {epoch}/2 · val mAP50 0.{epoch}")
            progress.advance("train", 10 * epoch, 20, "epoch 2/2")
    assert [" ".join(line.split()) for line in log.getvalue().splitlines()] == [
        "validate checking images",
        "train epoch 1/2",
        "train epoch 1/2 · val mAP50 0.1",
        "train epoch 2/2 · val mAP50 0.2",
    ]
