"""The heartbeat of a training process: what it says, and what counts as the slowest step."""

from __future__ import annotations

import faulthandler
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline.train.engine.beat import Beat


@pytest.fixture
def beat(tmp_path: Path) -> Iterator[Beat]:
    found = Beat(tmp_path, 1)
    yield found
    faulthandler.unregister(signal.SIGUSR1)
    found._stacks.close()


def said(beat: Beat) -> dict[str, Any]:
    beat.now("train")  # writes at once
    state: dict[str, Any] = json.loads(beat.path.read_text())
    return state


def test_a_batch_counts_whole_though_its_parts_were_progress(beat: Beat) -> None:
    beat.now("train", epoch=1)
    for _ in range(3):
        time.sleep(0.1)
        beat.tick()
    beat.step(16)
    state = said(beat)
    assert (state["phase"], state["epoch"], state["step"], state["images"], state["rank"]) == ("train", 1, 1, 16, 1)
    assert 0.3 <= state["slowest"] < 1


def test_before_the_first_batch_nothing_counts_and_after_it_all_that_is_counted_does(beat: Beat) -> None:
    time.sleep(0.2)
    beat.tick()  # a scan of labels
    assert said(beat)["slowest"] == 0
    beat.step(1)
    quick = said(beat)["slowest"]
    time.sleep(0.2)
    beat.tick()  # a batch of validation
    assert quick < 0.1 < 0.2 <= said(beat)["slowest"]
