"""Tasks in processes of their own, as in a pod of a run: what they print, hand on, and leave in the store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sightline import train
from sightline.config import TrainConfig
from sightline.documents import ErrorReport, PinnedWeights, ReportDocument
from sightline.documents.stage_record import read_records
from sightline.run_store import RunStore, keep_training, pack
from sightline.runtime.stage_frame import NAMES
from sightline.storage import open_store
from tests.helpers.documents import write_run
from tests.helpers.left_in_store import leave
from tests.helpers.sets import COUNTS, Sets

FRAME = """
import json, sys
class Artifact:
    def __init__(self, path):
        self.path, self.metadata = path, {}
    def log_metric(self, metric, value):
        self.metadata[metric] = value
made = {name: Artifact(name) for name in ("dataset", "checkpoint", "version")}
from sightline import tasks
"""
SHOW = "\nprint('SHOWN' + json.dumps([answer, {name: made[name].metadata for name in made}]))"
POD = {"KFP_POD_NAME": "cells-7-validate", "KFP_POD_UID": "5f"}
SNAPSHOT, CODE = "s3://data/snapshots/" + "5f" * 32, "c0" * 32
COUNTED = {f"{what}_{split}": float(count) for split, count in COUNTS.items() for what in ("images", "boxes")}
START = PinnedWeights(uri="s3://models/yolo11n.pt", sha256="0e" * 32)


class Task(subprocess.CompletedProcess[str]):
    """A task that ended: its exit code, what it printed, what it returned, and the metadata of its artifacts."""

    @property
    def shown(self) -> list[Any]:
        return json.loads(self.stdout.rpartition("SHOWN")[2])


@pytest.fixture
def run(tmp_path: Path) -> RunStore:
    return RunStore(open_store(str(tmp_path / "store")), "r1")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What a pod of the run has in its environment."""
    (tmp_path / "tmp").mkdir()
    values = {"SIGHTLINE_RUN_ID": "r1", "SIGHTLINE_TRACKING": "off", "TMPDIR": str(tmp_path / "tmp"), **POD}
    return {name: value for name, value in {**os.environ, **values}.items() if name != "SIGHTLINE_RUNS"}


@pytest.fixture
def task(tmp_path: Path, environment: dict[str, str]) -> Callable[..., Task]:
    """Runs `answer = tasks.…` in a process of its own, in an empty folder, as a pod of the run r1."""

    def call(*calls: str, **changed: str | None) -> Task:
        merged = {**environment, **changed}
        values = {name: value for name, value in merged.items() if value is not None}
        code = FRAME + "\n".join(f"answer = tasks.{each}" for each in calls) + SHOW
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=tmp_path, env=values, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return Task(done.args, done.returncode, done.stdout, done.stderr)

    return call


def validating(source: Path, **parameters: str) -> str:
    values = {"data": str(source), "train_weights": "yolo11n.yaml", "train_gpus": "0", **parameters}
    return f"validate(dataset=made['dataset'], page='page.html', **{values!r})"


def failed(stage: str, kind: str, message: str = "lr0 is wrong", code: int = 2) -> ErrorReport:
    return ErrorReport(stage=stage, kind=kind, message=message, exit_code=code)


def test_validate_empties_the_run_and_leaves_a_good_set_in_the_store_and_on_its_page(
    run: RunStore, sets: Sets, tmp_path: Path, task: Callable[..., Task]
) -> None:
    leave(run, tmp_path / "earlier")
    for stage in ("validate", "train"):
        run.fail(failed(stage, "data"))
    done = task(validating(sets.yolo()))
    assert done.returncode == 0, done.stderr
    (snapshot, weights, config, *_, verdict, selector, tolerations), made = done.shown
    assert (verdict, weights, selector) == ("accepted", "architecture:yolo11n.yaml", {})
    assert {item["tolerationSeconds"] for item in tolerations} == {60}
    assert TrainConfig.model_validate_json(config).gpus == 0
    assert made["dataset"] == {"snapshot": snapshot, **COUNTED}
    records = read_records(tmp_path / "dataset")
    assert records == run.records()
    assert set(records["validate"].documents) == {"validate.json", "data.json"}
    assert set(records["validate"].files) == {"data.html", "problems.csv"}
    assert (tmp_path / "page.html").read_bytes() == run.store.get_bytes(
        f"files/{records['validate'].files['data.html'].sha256}"
    )
    assert run.errors() == {}


def test_a_training_that_may_stand_for_no_other_is_not_taken_from_the_clusters_cache(
    sets: Sets, task: Callable[..., Task]
) -> None:
    source = sets.yolo()
    for overrides, ends in (('{"train.max_hours": 1}', "#r1"), ('{"train.recover": "all"}', "#r1"), ("{}", "")):
        done = task(validating(source, overrides=overrides))
        assert done.returncode == 0, done.stderr
        code = done.shown[0][6]
        assert (code[64:], len(code[:64].strip("0123456789abcdef"))) == (ends, 0)


def test_a_refused_set_ends_validate_well_and_the_run_in_refuse_with_the_same_words(
    run: RunStore, sets: Sets, tmp_path: Path, task: Callable[..., Task]
) -> None:
    source = sets.yolo()
    for number in range(6):
        (source / "labels" / "train" / f"{number}.txt").write_text("7 0.5 0.45 0.5 0.5\n")
    done = task(validating(source))
    assert done.returncode == 0, done.stderr
    assert done.shown[0] == [*[""] * 8, "refused", {}, []]
    assert "<html" in (tmp_path / "page.html").read_text()
    records = run.records()
    assert records == read_records(tmp_path / "dataset")
    assert set(records["validate"].documents) == {"data.json"}
    error = run.error("validate")
    assert error
    assert (error.kind, error.exit_code) == ("data-rejected", 3)
    assert "errors in labels or images: " in error.message
    assert error.message in done.stdout
    refused = task("refuse()")
    assert (refused.returncode, refused.stderr) == (3, f"error: {error.message}\n")


def test_a_wrong_configuration_replaces_what_an_earlier_attempt_left(
    run: RunStore, tmp_path: Path, task: Callable[..., Task]
) -> None:
    leave(run, tmp_path / "earlier", done_by={"train": "r0"})
    run.fail(failed("train", "train"))
    done = task(validating(tmp_path / "no such", train_image_size="33"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert all(word in done.stderr for word in ("train.image_size", "no such"))
    assert run.records() == {}
    assert list(run.errors()) == ["validate"]
    assert run.errors()["validate"].message in done.stderr
    assert not (tmp_path / "dataset").exists()


def test_a_pipeline_on_one_machine_has_one_node_and_in_a_pod_as_many_as_its_account_may_start(
    run: RunStore, sets: Sets, task: Callable[..., Task]
) -> None:
    asked = validating(sets.yolo(), train_nodes="2")
    here = task(asked, KFP_POD_NAME=None)
    assert here.returncode == 2
    assert here.stderr.startswith("error: train.nodes: got 2, expected 1 for a pipeline on one machine")
    in_pod = task(asked, KUBECONFIG="/nowhere")
    assert in_pod.returncode == 2
    assert "this pod has no account for Kubernetes' API. Install the component several-nodes" in in_pod.stderr
    assert run.errors()["validate"].kind == "configuration"


def test_a_train_that_would_fail_again_is_not_repeated_and_one_that_lost_its_store_is(
    run: RunStore, tmp_path: Path, task: Callable[..., Task]
) -> None:
    folder = write_run(tmp_path / "made", stages=["train"])["train"]
    (folder / "best.pt").write_bytes(b"weights")
    config = TrainConfig(gpus=0)
    key = train.key(snapshot=SNAPSHOT, config=config, weights=START, code=CODE)
    keep_training(run.store, key, pack("train", folder, run.store, "r0"))
    given = {"snapshot": SNAPSHOT, "weights": START.text(), "config": config.model_dump_json(), "code": CODE}
    call = f"train(checkpoint=made['checkpoint'], **{given!r})"
    for kind in ("configuration", "data", "weights"):
        run.fail(failed("train", kind))
    known = task(call)
    assert known.returncode == 2
    assert known.stderr.startswith("error: This task failed before in this run, and its inputs are the same. ")
    assert known.stderr.endswith(":\nlr0 is wrong\n")
    for kind in ("train", "internal"):
        run.fail(failed("train", kind, "the GPU's memory is too small", 1))
        known = task(call)
        assert known.returncode == 1
        assert known.stderr.startswith("error: This task failed before in this run, and is not repeated: ")
        assert "it goes on from the last checkpoint:\nthe GPU's memory is too small\n" in known.stderr
        assert run.errors()["train"].kind == kind, "the run ends with its first words"
    run.fail(failed("train", "storage", "the store was away", 1))
    done = task(call)
    assert done.returncode == 0, done.stderr
    assert "The same training was done before, in the run r0" in done.stdout
    assert run.errors() == {}
    assert read_records(tmp_path / "checkpoint") == run.records()
    record = run.records()["train"]
    assert (record.run_id, record.documents["train.json"]["snapshot"]) == ("r0", SNAPSHOT)
    assert record.documents["train.json"]["weights"] == START.start
    assert set(done.shown[1]["checkpoint"]) == {"val_map50", "val_map50_95", "best_epoch"}


@pytest.mark.server
def test_report_verdict_register_and_conclude_work_out_of_a_bucket_alone(
    s3: str, tmp_path: Path, task: Callable[..., Task]
) -> None:
    run = RunStore(open_store(f"s3://{s3}/cells"), "r1")
    leave(run, tmp_path / "made", NAMES[:5], done_by={"train": "r0"})
    run.fail(failed("evaluate", "storage", "verdict lost the store", 1))
    done = task(
        "report(name='night', page='page.html', train_cpu='4', train_node_selector={'gpu': 'a'})",
        "verdict()",
        "register(version=made['version'])",
        "conclude(name='night', state='RUNNING', page='end.html')",
        **{name: os.environ[name] for name in os.environ if name.startswith(("AWS_", "SIGHTLINE_S3_"))},
        SIGHTLINE_STORE=run.store.uri,
    )
    assert done.returncode == 0, done.stderr
    assert "accepted" in done.stdout
    assert run.errors() == {}
    record = run.records()["report"]
    reported = ReportDocument.model_validate(record.documents["report.json"])
    assert reported.asked == {"train_cpu": "4", "train_node_selector": {"gpu": "a"}}
    assert record.documents["summary.json"]["name"] == "night"
    assert "Nothing is registered: tracking is switched off" in (tmp_path / "version").read_text()
    assert "register" not in run.records()
    summary = run.summary()
    assert summary
    assert (summary.status, summary.name, summary.error) == ("accepted", "night", None)
    assert [stage.status for stage in summary.stages] == ["done", "cached", *["done"] * 4, "skipped"]
    assert (tmp_path / "end.html").read_bytes() == run.store.get_bytes("runs/r1/report.html")


def test_conclude_gives_its_page_also_where_no_store_is_set_or_none_answers(
    tmp_path: Path, task: Callable[..., Task], closed_address: str
) -> None:
    away = {"SIGHTLINE_S3_ENDPOINT": closed_address, "SIGHTLINE_S3_WAIT": "1"}
    access = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    cases: list[tuple[dict[str, str | None], str]] = [
        ({"SIGHTLINE_STORE": None}, "SIGHTLINE_STORE is not set, and a store in this pod would be gone with it"),
        ({"SIGHTLINE_STORE": "s3://cells", **away, **access}, "does not answer"),
    ]
    for changed, words in cases:
        done = task("conclude(name='night', state='FAILED', page='end.html')", **changed)
        assert done.returncode == 0, done.stderr
        assert "status: failed, in conclude: What the stages left in the store cannot be read" in done.stdout
        assert words in (tmp_path / "end.html").read_text()
    lost = task("verdict()", SIGHTLINE_STORE=None)
    assert lost.returncode == 2
    assert lost.stderr.startswith("error: SIGHTLINE_STORE is not set")
    assert not (tmp_path / "runs").exists()


@pytest.mark.server
def test_a_task_that_knows_no_run_or_a_store_that_refuses_says_so(s3: str, task: Callable[..., Task]) -> None:
    nameless = task("refuse()", SIGHTLINE_RUN_ID=None)
    assert nameless.returncode == 2
    assert nameless.stderr.startswith("error: SIGHTLINE_RUN_ID is not set, so this task does not know which run")
    refusing = task("refuse()", SIGHTLINE_STORE=f"s3://{s3}", AWS_SECRET_ACCESS_KEY="wrong")
    assert refusing.returncode == 2
    assert refusing.stderr.startswith(f"error: s3://{s3}: access refused by ")
    assert "wrong" not in refusing.stderr


WAITING = """
import time
from sightline.task_frame import task
with task("train") as this:
    print("ready", flush=True)
    time.sleep(60)
"""


def stopped(environment: dict[str, str], tmp_path: Path) -> tuple[int, float]:
    """Stop a task as Kubernetes does; return its exit code and the seconds that it took to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        return process.wait(60), time.monotonic() - start


def test_a_stopped_task_says_that_it_was_interrupted_and_waits_for_no_store(
    run: RunStore, tmp_path: Path, environment: dict[str, str], closed_address: str
) -> None:
    code, _ = stopped(environment, tmp_path)
    assert code == 130
    error = run.error("train")
    assert error
    assert (error.kind, error.exit_code) == ("interrupted", 130)
    access = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    away = {"SIGHTLINE_STORE": "s3://cells", "SIGHTLINE_S3_ENDPOINT": closed_address, **access}
    code, seconds = stopped({**environment, **away}, tmp_path)
    assert code == 130
    assert seconds < 20, "the store would be waited for two minutes otherwise"


def test_an_attempt_that_is_killed_leaves_no_words_of_the_one_before(
    run: RunStore, tmp_path: Path, environment: dict[str, str], closed_address: str
) -> None:
    """Otherwise the run would end with a reason that was no more, instead of what Kubernetes says of the pod."""
    run.fail(failed("train", "storage", "the store was away", 1))
    given = {"snapshot": SNAPSHOT, "weights": START.text(), "config": TrainConfig(gpus=0).model_dump_json()}
    access = {"SIGHTLINE_S3_ENDPOINT": closed_address, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    code = f"{FRAME}tasks.train(checkpoint=made['checkpoint'], code={CODE!r}, **{given!r})"
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env={**environment, **access}) as attempt:
        deadline = time.monotonic() + 60
        while run.errors() and attempt.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        attempt.kill()  # while it waits for the weights
    assert run.errors() == {}
