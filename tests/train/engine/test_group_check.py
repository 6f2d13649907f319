"""Processes that do not come, do not fit together or do not sum are named before a model is built."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sightline.train.launch import free_port

pytestmark = pytest.mark.xdist_group("engine group check")  # so that the engine starts once

SCRIPT = Path(__file__).with_name("group_of_two.py")


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which two processes under torchrun wrote how each case ended, and what they printed."""
    folder = tmp_path_factory.mktemp("attempt-1")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"),
            *("--master_addr=127.0.0.1", f"--master_port={free_port()}", str(SCRIPT), str(folder)),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def said(ended: tuple[Path, str], rank: int) -> dict[str, str]:
    content: dict[str, str] = json.loads((ended[0] / f"said-{rank}.json").read_text())
    return content


def test_a_whole_group_measures_its_bandwidth_and_rank_0_leaves_it_beside_the_job(ended: tuple[Path, str]) -> None:
    assert [said(ended, rank)["whole"] for rank in (0, 1)] == ["passed", "passed"]
    measured = json.loads((ended[0] / "group.json").read_text())
    assert (measured["ranks"], measured["backend"], measured["bytes"]) == (2, "gloo", 8_000_000)
    assert 0 < measured["all_reduce_seconds"] < measured["seconds"] < 10
    assert measured["all_reduce_gb_per_s"] == pytest.approx(0.008 / measured["all_reduce_seconds"], abs=0.001)
    [line] = [line for line in ended[1].splitlines() if line.startswith("all-reduce")]
    assert line.startswith("all-reduce over 2 processes (gloo): 8 MB in ")


def test_a_process_that_does_not_come_is_named(ended: tuple[Path, str]) -> None:
    for case in ("not started", "absent"):
        words = said(ended, 0)[case]
        assert words.startswith("LostPeer: rank 1 of 2 did not answer within 1 seconds: it has not started"), case


def test_a_process_that_comes_late_is_waited_for(ended: tuple[Path, str]) -> None:
    assert [said(ended, rank)["started"] for rank in (0, 1)] == ["passed", "passed"]


def test_processes_that_were_started_as_groups_of_different_sizes_are_refused(ended: tuple[Path, str]) -> None:
    first, second = (said(ended, rank)["sizes"] for rank in (0, 1))
    assert first.startswith("GroupError: rank 0 was started as one of 2 processes, rank 1 as one of 4")
    assert second == "GroupError: rank 1: torchrun started 4 processes, and the process group has 2"


def test_a_wrong_sum_is_refused(ended: tuple[Path, str]) -> None:
    words = said(ended, 0)["sum"]
    assert words.startswith("GroupError: rank 0 of 2: a sum over all processes gave 1 to 1 where 3 is right")


def test_a_process_that_answers_and_then_hangs_is_not_waited_for_without_end(ended: tuple[Path, str]) -> None:
    words = said(ended, 0)["hang"]
    assert words.startswith("LostPeer: a sum over all 2 processes was not done within 1.5 seconds, though all had ans")
