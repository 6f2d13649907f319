"""`sightline submit --wait --resubmit`: which runs are started again, and what is said."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import compiled
from tests.helpers.compiled import nodes
from tests.helpers.kfp_stand_in import StandIn

Command = Callable[..., subprocess.CompletedProcess[str]]
KILLED = ("FAILED", nodes(train=("Failed", "main: OOMKilled (exit code 1)")))


def waited(command: Command, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    compiled.write(folder)
    arguments = ("--pipeline", "small.yaml", "--run-name", "tonight", "--param", "train_epochs=3", "--wait", *options)
    return command("submit", *arguments, cwd=folder)


def test_a_killed_training_is_started_again_as_often_as_was_said(
    command: Command, kfp_server: StandIn, tmp_path: Path
) -> None:
    kfp_server.script = [KILLED]
    done = waited(command, tmp_path, "--resubmit", "2", "--json")
    assert done.returncode == 1, done.stderr
    first, second, third = kfp_server.runs.values()
    assert first.runtime_config.parameters == third.runtime_config.parameters == {"train_epochs": "3"}
    assert {run.display_name for run in kfp_server.runs.values()} == {"tonight"}
    answer = json.loads(done.stdout)
    assert (answer["run_id"], answer["state"]) == (third.run_id, "FAILED")
    assert [item["run_id"] for item in answer["resubmitted"]] == [first.run_id, second.run_id]
    assert all("memory" in item["why"] for item in answer["resubmitted"])
    assert "started again (1 of 2): train ran out of memory" in done.stderr
    assert f"sightline submit --follow {third.run_id}" in done.stderr


def test_a_run_that_then_goes_well_counts(command: Command, kfp_server: StandIn, tmp_path: Path) -> None:
    """The stand-in's second run does what its script says by then."""
    kfp_server.scripts = [[KILLED], [("SUCCEEDED", nodes(train="Succeeded"))]]
    done = waited(command, tmp_path, "--resubmit", "5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(kfp_server.runs) == 2
    assert "is over: succeeded" in done.stdout


@pytest.mark.parametrize(
    "frame",
    [
        ("FAILED", nodes(train=("Failed", "main: Error (exit code 1)"))),
        ("FAILED", nodes(train=("Failed", "Step exceeded its deadline"))),
        ("SUCCEEDED", nodes(train="Succeeded")),
    ],
    ids=["a fault of its own", "ended by hand or deadline", "went well"],
)
def test_others_are_not(
    command: Command, kfp_server: StandIn, tmp_path: Path, frame: tuple[str, dict[str, object]]
) -> None:
    kfp_server.script = [frame]
    waited(command, tmp_path, "--resubmit", "3")
    assert len(kfp_server.runs) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [(("--resubmit", "2"), "--resubmit needs --wait"), (("--wait", "--resubmit", "21"), "less than or equal to 20")],
)
def test_what_makes_no_sense_is_refused(
    command: Command, kfp_server: StandIn, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    compiled.write(tmp_path)
    done = command("submit", "--pipeline", "small.yaml", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert not kfp_server.runs


RUNS = "POST /apis/v2beta1/runs"


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_resubmission_that_is_refused_takes_nothing_from_the_end(
    command: Command, kfp_server: StandIn, tmp_path: Path, options: tuple[str, ...]
) -> None:
    kfp_server.script = [KILLED]
    kfp_server.faults[RUNS] = ["none", (403, "User 'ci' is not authorized")]
    done = waited(command, tmp_path, "--resubmit", "2", *options)
    assert done.returncode == 1, done.stderr
    assert len(kfp_server.runs) == 1
    assert "note: the run was not started again. You may not start the run tonight" in " ".join(done.stderr.split())
    if options:
        answer = json.loads(done.stdout)
        assert (answer["cause"]["kind"], answer["resubmitted"]) == ("memory", [])
        assert answer["not_resubmitted"].startswith("You may not start the run tonight")
    else:
        assert "cause      train ran out of memory" in done.stdout
        assert "The run tonight is over: failed." in done.stdout


@pytest.mark.parametrize("fault", ["drop", "lost", (503, "busy")])
def test_an_outage_is_waited_out_and_no_run_is_started_twice(
    command: Command, kfp_server: StandIn, tmp_path: Path, fault: str | tuple[int, str]
) -> None:
    kfp_server.scripts = [[KILLED], [("SUCCEEDED", nodes(train="Succeeded"))]]
    kfp_server.faults[RUNS] = ["none", fault]
    done = waited(command, tmp_path, "--resubmit", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = kfp_server.runs.values()
    assert "Trying again to start the run again." in " ".join(done.stdout.split())
    assert second.description == f"{first.description}\nStarted again after the run {first.run_id}."
    assert f"sightline submit --follow {second.run_id}" in done.stdout
