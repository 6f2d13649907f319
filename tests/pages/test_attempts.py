"""The page and the summary show every attempt at training: when, what it kept and lost, and what was changed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.console import Console

from sightline.cli.output import print_result
from sightline.documents import Attempt, AttemptSettings, TrainDocument, read
from sightline.pages.attempts import timeline
from sightline.summary import summarise
from tests.helpers.documents import train, write_run
from tests.helpers.page import Page
from tests.helpers.run_page import STARTED, page

SETTINGS = AttemptSettings(batch=16, accumulation=1, workers=4, cache="off", image_size=640, lr0=0.004)
ATTEMPTS = [
    Attempt(
        number=1,
        ending="cuda_memory",
        exit_code=1,
        reason="The GPU's memory ran out in epoch 1.",
        evidence=["torch.OutOfMemoryError: <CUDA> out of memory"],
        started_at="2026-11-21T08:00:00+00:00",
        seconds=40,
        machine="node-3",
        settings=SETTINGS,
        seconds_lost=40,
    ),
    Attempt(
        number=2,
        ending="preempted",
        exit_code=None,
        reason="Somebody outside ended it.",
        started_at="2026-11-21T08:00:50+00:00",
        seconds=90,
        machine="node-3",
        settings=SETTINGS.model_copy(update={"batch": 8, "accumulation": 2}),
        changed=["8 instead of 16 images per pass"],
        epochs=12,
        seconds_lost=20,
    ),
    Attempt(
        number=3,
        exit_code=0,
        reason="Finished.",
        started_at="2026-11-21T08:02:40+00:00",
        seconds=40,
        machine="node-7",
        settings=SETTINGS.model_copy(update={"batch": 8, "accumulation": 2, "image_size": 480}),
        resumed_from=12,
        epochs=40,
    ),
]


def trained(folders: dict[str, Path], attempts: list[Attempt], image_size: int = 640) -> TrainDocument:
    """Change how the training of a run went."""
    before = train()
    config = before.config.model_copy(update={"image_size": image_size})
    before.model_copy(update={"attempts": attempts, "config": config}).write(folders["train"])
    return read(TrainDocument, folders["train"])


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    return write_run(tmp_path)


def test_every_attempt_lies_where_it_was_along_wall_time_with_what_it_lost_at_its_end(folders: dict[str, Path]) -> None:
    shown = timeline(trained(folders, ATTEMPTS))
    assert shown
    assert (shown.seconds, shown.lost, shown.began) == (200, 60, "2026-11-21T08:00:00+00:00")
    # Percent of 200 seconds; the pauses of 10 and 20 seconds lie between the bars.
    assert [(bar.left, bar.width, bar.lost) for bar in shown.bars] == [(0, 20, 20), (25, 45, 10), (80, 20, 0)]
    assert [(bar.ending, bar.elsewhere) for bar in shown.bars] == [
        ("cuda memory", False),
        ("preempted", False),
        ("finished", True),
    ]


def test_the_page_names_end_reason_evidence_change_epochs_and_loss_of_each(folders: dict[str, Path]) -> None:
    trained(folders, ATTEMPTS)
    html = page(folders)
    text = Page(html).text
    for words in (
        "Training needed 3 attempts 3 min 20 s from the first to the last, from 2026-11-21 08:00 UTC on. 1 min 00 s of",
        "1 cuda memory 40.0 s 0 → 0 40.0 s The GPU's memory ran out in epoch 1. torch.OutOfMemoryError: <CUDA> out of",
        "2 preempted 1 min 30 s 0 → 12 20.0 s Changed: 8 instead of 16 images per pass Somebody outside ended it.",
        "3 finished 40.0 s 12 → 40 – Finished. On another machine, node-7.",
        "Thin lines are where training was resumed.",
    ):
        assert words in text
    assert 'style="left: 60.0%; width: 10.0%"' in html
    lines = re.findall(r'class="break" d="M([\d.]+) ', html)
    assert lines == [f"{42 + 406 * (12.5 - 1) / 39:.1f}"] * 2, "in the losses and in the scores, between two epochs"


def test_a_training_that_finished_at_once_is_not_talked_about(folders: dict[str, Path]) -> None:
    assert timeline(trained(folders, ATTEMPTS[-1:])) is None
    trained(folders, [ATTEMPTS[-1].model_copy(update={"number": 1, "resumed_from": 0})])
    html = page(folders)
    assert "Training needed" not in html
    assert 'class="break"' not in html
    assert summarise(run_id="r1", folders=folders).train.recovered == []  # type: ignore[union-attr]


def test_an_attempt_of_before_these_fields_is_shown_with_what_is_known(folders: dict[str, Path]) -> None:
    values = ({"number": 1, "exit_code": -9, "seconds": 30.0, "reason": "killed"}, {"exit_code": 0, "seconds": 90.0})
    attempts = [Attempt.model_validate({"number": 2, "reason": "finished", **each}) for each in values]
    shown = timeline(trained(folders, attempts))
    assert shown
    assert [(bar.left, bar.width, bar.lost) for bar in shown.bars] == [(0, 25, 0), (25, 75, 0)]
    assert "1 exit code -9 30.0 s – – killed 2 finished 1 min 30 s – – finished" in Page(page(folders)).text


def test_clocks_of_two_machines_that_disagree_draw_no_bar_outside(folders: dict[str, Path]) -> None:
    early = ATTEMPTS[2].model_copy(update={"started_at": "2026-11-21T07:59:00+00:00"})
    shown = timeline(trained(folders, [*ATTEMPTS[:2], early]))
    assert shown
    assert all(bar.left >= 0 and bar.left + bar.width <= 100.001 and bar.lost >= 0 for bar in shown.bars)


def test_a_smaller_image_than_was_asked_for_is_said_on_page_summary_and_terminal(folders: dict[str, Path]) -> None:
    trained(folders, ATTEMPTS, image_size=480)
    words = "trained at 480 px, asked 640"
    assert f"The model was {words}: memory ran out at 640" in Page(page(folders)).text
    summary = summarise(run_id="r1", folders=folders, started_at=STARTED)
    assert summary.train
    assert (summary.train.image_size, summary.train.asked_image_size, summary.train.smaller) == (480, 640, words)
    assert (summary.train.attempts, summary.train.recovered) == (3, ["cuda_memory", "preempted"])
    with (console := Console(width=200)).capture() as printed:
        print_result(summary, console)
    assert f"The model was {words}" in printed.get()
    assert "Training took 3 attempts (cuda memory, preempted); the report shows them." in printed.get()
    trained(folders, ATTEMPTS)
    assert summarise(run_id="r1", folders=folders).train.smaller is None  # type: ignore[union-attr]
    assert "px, asked" not in page(folders)
