"""Runs that end badly: each with a page, a summary that says what is known, and the right state."""

from __future__ import annotations

import html
import json
from types import SimpleNamespace

from tests.helpers.cluster import Cluster, Run


def assert_failed(run: Run, stage: str, *, exit_code: int = 1) -> str:
    """See that a run failed in a stage and that page and summary say so; returns the message."""
    assert (run.ended["state"], run.exit_code) == ("FAILED", exit_code)
    error = run.summary["error"]
    assert error["stage"] == stage
    assert run.statuses()[stage] == "failed"
    assert error["message"].splitlines()[0][:60] in run.page
    return str(error["message"])


def test_a_pod_that_is_deleted_fails_the_run(first: SimpleNamespace, struck: None) -> None:
    run = first.deleted
    assert run.ended["state"] == "FAILED"
    message = assert_failed(run, "train", exit_code=run.summary["error"]["exit_code"])
    assert run.summary["error"]["kind"] in ("interrupted", "lost")
    assert message in run.page


def test_a_terminated_run_is_finished_by_hand(first: SimpleNamespace, struck: None, cluster: Cluster) -> None:
    run = first.terminated
    assert run.ended["state"] == "FAILED"
    done = cluster.sightline("report", "--run", run.run_id, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == run.summary
    assert (run.summary["status"], run.summary["error"]["stage"]) == ("failed", "train")
    assert run.summary["error"]["kind"] in ("interrupted", "lost")
    assert (run.statuses()["validate"], run.statuses()["export"]) == ("done", "skipped")
    assert run.summary["error"]["message"].splitlines()[0][:60] in html.unescape(run.left("report.html").decode())


def test_refused_data_shows_its_page_and_fails_the_run(second: SimpleNamespace) -> None:
    run = second.refused
    assert (run.ended["state"], run.exit_code) == ("FAILED", 3)
    assert (run.summary["status"], run.summary["rejected_by"]) == ("rejected", "data")
    assert "smear_train_003.txt:2" in run.summary["error"]["message"]
    states = {name: task.state for name, task in run.tasks().items()}
    assert states == {"validate": "done", "gate": "done", "refuse": "failed", "conclude": "done"}
    assert b"smear_train_003.txt" in run.artifact("validate", "data_report")
    assert "smear_train_003.txt" in run.page
    (log,) = run.ended["logs"]
    assert log["task"] == "refuse"
    assert "smear_train_003.txt:2" in "\n".join(log["lines"])


def test_a_stage_that_fails_says_why_and_what_to_do(second: SimpleNamespace) -> None:
    run = second.diverged
    message = assert_failed(run, "train", exit_code=2)
    assert "Lower train.lr0" in message
    assert any("Lower train.lr0" in line for log in run.ended["logs"] for line in log["lines"])


def test_memory_that_cannot_be_enough_is_refused_by_the_stage(second: SimpleNamespace) -> None:
    message = assert_failed(second.small, "train", exit_code=2)
    assert "need about 890 MB of memory or more. The container's limit is 135 MB" in message


def test_a_stage_that_runs_out_of_memory_fails_the_run_with_what_is_known(second: SimpleNamespace) -> None:
    run = second.killed
    message = assert_failed(run, "train")
    assert "memory" in message
    assert run.summary["cause"]["kind"] in ("memory", "stage")  # of the pod, or after the ladder of smaller batches


def test_an_image_that_is_not_there_ends_by_its_time_limit(second: SimpleNamespace) -> None:
    run = second.imageless
    message = assert_failed(run, "train")
    assert "its image registry.invalid/sightline-train:gone cannot be fetched" in message
    assert run.summary["cause"]["kind"] == "image"
    assert "registry.invalid/sightline-train:gone" in run.told


def test_a_pod_that_fits_no_node_is_given_up_in_the_schedulers_words(first: SimpleNamespace) -> None:
    run = first.misfit
    assert run.exit_code == 1
    assert run.ended["state"] == "FAILED"
    assert "the pod of train has not started" in run.ended["given_up"]
    assert "didn't match Pod's node affinity/selector" in run.ended["given_up"]
    assert "train is waiting: 0 of " in run.told
    assert run.summary["cause"]["kind"] == "unschedulable"
