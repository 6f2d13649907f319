"""The page shows where the time of a training went, what bound it, and what it took besides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sightline.documents import TrainDocument
from sightline.pages.train_time import table
from tests.helpers.documents import train, write_run
from tests.helpers.page import Page
from tests.helpers.run_page import page


def trained(**changed: Any) -> TrainDocument:
    document = train()
    return document.model_copy(update={"time": document.time.model_copy(update=changed)})


def test_it_has_verdict_advice_shares_and_seconds(tmp_path: Path) -> None:
    html = page(write_run(tmp_path))
    text = Page(html).text
    for words in (
        "Where training time went Compute-bound: computing took 73% of the epochs, and nothing else is over its limit. "
        "Take a faster card or more of them (train.gpus).",
        "waiting for images 7.0 % 1 min 00 s",
        "computing 73.5 % 10 min 32 s",
        "all else 1.9 % 16.0 s",
        "Seconds are of 40 epochs, each counted once. Shares are of 38 of them, without the first one of each attempt",
        "took 44.4 s beside them, and 12.0 s were lost with attempts that did not finish.",
        "All attempts together took 0.51 GPU hours and 0.23 kWh, by the cards’ own counters.",
    ):
        assert words in text
    assert '<i style="width: 73.5%">' in html


@pytest.mark.parametrize(
    ("joules", "words"), [(5400.0, "and 1.5 Wh, by"), (None, "; their energy is not known, since not")]
)
def test_energy_is_said_as_it_is_paid_for_and_not_where_it_is_not_known(joules: float | None, words: str) -> None:
    assert words in table(trained(energy_joules=joules)).notes


def test_a_training_on_cpus_that_was_never_interrupted_has_less_to_say() -> None:
    document = trained(attempts_gpu_seconds=None, energy_joules=None, lost_seconds=0.0, judged_epochs=39)
    notes = table(document.model_copy(update={"attempts": document.attempts[-1:]})).notes
    assert "without the first one, in which loaders" in notes
    assert "lost" not in notes
    assert "GPU" not in notes
