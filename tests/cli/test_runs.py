"""What a person reads of the newest runs, and what a script does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sightline.storage import open_store
from tests.helpers.summaries import failed, put, summary, took

LONG = "1c4d9a05-1f6c-4f0e-9c1a-7a64f8a2d114"
WHY = "The task train ran out of memory, since 3Gi was its limit, and this goes on for a while."


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store with two runs."""
    monkeypatch.setenv("SIGHTLINE_STORE", str(tmp_path / "team"))
    monkeypatch.setenv("SIGHTLINE_TRACKING", "off")
    put(open_store(str(tmp_path / "team")), summary("good", 1, cost=took(2.25)), summary(LONG, 2, **failed(WHY)))
    return str(tmp_path / "team")


def test_runs_fit_a_hundred_columns_with_id_and_cause_below_each(
    store: str, tmp_path: Path, command: Callable[..., Any]
) -> None:
    done = command("runs", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    head, *lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert head == "when (UTC) name model status verdict mAP50-95 took GPU h"
    assert lines == [
        "11-01 02:00 nightly 1c4d9a05-1… smear failed – – 30 min 00 s –",
        f"{LONG} The task train ran out of memory, since 3Gi was …",
        "11-01 01:00 nightly good smear registered accepted 0.612 30 min 00 s 2.25",
        "good",
    ]


def test_json_has_everything_and_the_limit_counts_runs(store: str, tmp_path: Path, command: Callable[..., Any]) -> None:
    done = command("runs", "--json", "--limit", "1", "--model", "smear", cwd=tmp_path)
    found = json.loads(done.stdout)
    (run,) = found["runs"]
    assert (run["run_id"], run["cause"]) == (LONG, {"kind": "memory", "sentence": WHY})
    assert found["sources"] == [{"place": "store", "address": store, "problem": None, "unreadable": 0}]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--limit", "0"), "Invalid value for '--limit'"),
        (("--model", ""), "got '', expected a value"),
        (("--model", "smeer"), "There are no runs of the model 'smeer' in {store}; models that have runs: smear."),
    ],
)
def test_a_wrong_limit_and_a_model_without_runs_are_bad_input(
    arguments: tuple[str, ...], message: str, store: str, tmp_path: Path, command: Callable[..., Any]
) -> None:
    done = command("runs", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message.format(store=store) in " ".join(done.stderr.split())


def test_a_place_that_could_not_be_asked_is_not_said_to_have_no_runs(
    tmp_path: Path, command: Callable[..., Any], closed_address: str
) -> None:
    places = {"SIGHTLINE_STORE": str(tmp_path / "team"), "MLFLOW_TRACKING_URI": closed_address}
    done = command("runs", cwd=tmp_path, **places)
    assert (done.returncode, done.stdout.strip()) == (0, f"no runs in {tmp_path / 'team'}")
    assert f"note: MLflow {closed_address} cannot be asked" in " ".join(done.stderr.split())
    done = command("runs", "--model", "smear", cwd=tmp_path, **places)
    message = " ".join(done.stderr.split())
    assert f"There are no runs of the model 'smear' in {tmp_path / 'team'}; no model has runs" in message
    assert f"- MLflow {closed_address} cannot be asked" in message


def test_where_there_are_no_runs_it_says_so_and_makes_nothing(tmp_path: Path, command: Callable[..., Any]) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    done = command("runs", cwd=folder, SIGHTLINE_STORE="")
    assert (done.returncode, done.stdout.strip()) == (0, f"no runs in {folder / 'runs'}")
    assert list(folder.iterdir()) == []
