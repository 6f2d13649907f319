"""Two runs of the whole pipeline that want the same training at the same time: it is done once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.sets import Sets

pytestmark = pytest.mark.timeout(300)
TINY = ("--set", "train.epochs=1", "--set", "train.image_size=32", "--set", "train.batch=2")


@pytest.mark.slow
def test_one_trains_and_the_other_takes_the_result(sets: Sets, tmp_path: Path) -> None:
    data = ("--data", str(sets.yolo()), "--preset", "quickstart")
    runs = {}
    for name in ("one", "two"):
        command = [sys.executable, "-m", "sightline", "run", "--json", "--run-id", name, *data, *TINY]
        runs[name] = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    outputs = {name: run.communicate(timeout=250) for name, run in runs.items()}
    summaries = {name: json.loads(output) for name, (output, _) in outputs.items()}
    assert [run.returncode for run in runs.values()] == [3, 3], outputs
    notes = {name: summary["stages"][1]["note"] for name, summary in summaries.items()}
    [trained] = [name for name, note in notes.items() if note is None]
    [took] = [name for name, note in notes.items() if note is not None]
    assert notes[took] == f"taken from run {trained}, which did the same training meanwhile"
    assert (
        f"the same training is going on in run {trained} (process "
        in (tmp_path / "runs" / took / "progress.jsonl").read_text()
    )
    assert summaries["one"]["export"]["sha256"] == summaries["two"]["export"]["sha256"]
    best = [(tmp_path / "runs" / name / "train" / "best.pt").read_bytes() for name in ("one", "two")]
    assert best[0] == best[1]
    assert list((tmp_path / "runs" / "work").iterdir()) == []
