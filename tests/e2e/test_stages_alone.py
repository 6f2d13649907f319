"""Stages one by one from the command line, over the documents of a real run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.finished_run import Finished

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def copy(quickstart: Finished, tmp_path: Path) -> Path:
    """A run directory with the documents of the quickstart up to its checkpoint."""
    for stage in ("validate", "train"):
        shutil.copytree(quickstart.folder / stage, tmp_path / "runs" / "alone" / stage)
    return tmp_path


def test_export_evaluate_sample_report_register_give_the_same_result(
    quickstart: Finished, copy: Path, command: Callable
) -> None:
    run = ("--run", "runs/alone", "--json")
    documents = {}
    for stage in ("export", "evaluate", "sample", "report", "register"):
        done = command(stage, *run, cwd=copy)
        assert done.returncode == 0, done.stderr
        documents[stage] = json.loads(done.stdout)
        assert json.loads((copy / "runs" / "alone" / stage / f"{stage}.json").read_text()) == documents[stage]
    # The same checkpoint gives the same bytes, here exported a second time.
    assert documents["export"]["sha256"] == quickstart.summary["export"]["sha256"]
    assert documents["evaluate"]["map50_95"] == quickstart.summary["evaluate"]["map50_95"]
    assert documents["register"]["version"] == "1"
    again = json.loads(command("register", *run, cwd=copy).stdout)
    assert again["version"] == "1"


def test_evaluate_with_a_higher_bar_exits_3(copy: Path, quickstart: Finished, command: Callable) -> None:
    shutil.copytree(quickstart.folder / "export", copy / "runs" / "alone" / "export")
    done = command("evaluate", "--run", "runs/alone", "--set", "gate.min_class_ap50=1", cwd=copy)
    assert done.returncode == 3
    assert "weakest class" in done.stdout
    refused = command("register", "--run", "runs/alone", cwd=copy)
    assert refused.returncode == 2


def test_repeating_a_stage_leaves_the_files_of_other_runs_alone(
    copy: Path, quickstart: Finished, command: Callable
) -> None:
    """Runs share files with the pipeline's cache by hard links; a stage must not write through one."""
    shutil.copytree(quickstart.folder / "export", copy / "runs" / "alone" / "export")
    shutil.copytree(quickstart.folder / "sample", copy / "runs" / "alone" / "sample", copy_function=os.link)
    before = {path: path.read_bytes() for path in (quickstart.folder / "sample").iterdir()}
    done = command("sample", "--run", "runs/alone", "--set", "sample.count=3", cwd=copy)
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in (quickstart.folder / "sample").iterdir()} == before
    assert len(list((copy / "runs" / "alone" / "sample").glob("*.jpg"))) == 3


def test_size_of_the_training_is_the_size_of_the_file(copy: Path, command: Callable) -> None:
    """What `train --set` said last counts, not what validate resolved."""
    path = copy / "runs" / "alone" / "train" / "train.json"
    document = json.loads(path.read_text())
    document["config"]["image_size"] = 192
    path.write_text(json.dumps(document))
    done = command("export", "--run", "runs/alone", "--json", cwd=copy)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["image_size"] == 192


def test_score_of_other_data_is_not_registered(copy: Path, quickstart: Finished, command: Callable) -> None:
    for stage in ("export", "evaluate", "report"):
        shutil.copytree(quickstart.folder / stage, copy / "runs" / "alone" / stage)
    path = copy / "runs" / "alone" / "validate" / "validate.json"
    path.write_text(path.read_text().replace(quickstart.summary["data"]["snapshot"][-64:], "0" * 64))
    for stage in ("evaluate", "register"):
        done = command(stage, "--run", "runs/alone", cwd=copy)
        assert done.returncode == 2
        assert "Repeat the stages from train on" in done.stderr


def test_changed_file_is_not_evaluated(copy: Path, quickstart: Finished, command: Callable) -> None:
    shutil.copytree(quickstart.folder / "export", copy / "runs" / "alone" / "export")
    with (copy / "runs" / "alone" / "export" / "model.onnx").open("ab") as file:
        file.write(b"x")
    done = command("evaluate", "--run", "runs/alone", cwd=copy)
    assert done.returncode == 2
    assert "Export again" in done.stderr
    assert not (copy / "runs" / "alone" / "evaluate" / "evaluate.json").exists()


def test_predict_writes_pictures_json_and_findings(copy: Path, quickstart: Finished, command: Callable) -> None:
    cache = quickstart.folder.parents[1] / "cache"
    images = sorted(cache.rglob("images/test/*.png"))
    empty = json.loads((quickstart.folder / "sample" / "sample.json").read_text())["samples"][-1]
    assert empty["finding"] == "No findings"
    done = command(
        *("predict", "--model", str(quickstart.folder / "export" / "model.onnx"), "--to", "out", str(images[0].parent)),
        cwd=copy,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((copy / "out" / "predictions.json").read_text())
    assert len(results) == len(images) == len(list((copy / "out").glob("*.jpg")))
    assert sum(len(result["detections"]) for result in results) > 400
    assert any(result["finding"] == "No findings" and not result["detections"] for result in results)
    assert all(0 <= value <= 200 for result in results for found in result["detections"] for value in found["box"])
