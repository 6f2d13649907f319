"""The command that starts the processes of a training."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sightline.train.launch import Torchrun


def test_torchrun_learns_how_many_workers_there_are_where_they_meet_and_what_they_do() -> None:
    torchrun = Torchrun(job=Path("/work/job.json"), processes=4, nodes=2, address="10.0.0.7", port=29500)
    assert torchrun.command() == [
        *(sys.executable, "-m", "sightline.train.torchrun", str(os.getpid())),
        *("--nnodes=2", "--nproc_per_node=4", "--master_addr=10.0.0.7", "--master_port=29500"),
        *("-m", "sightline.train.worker", "/work/job.json"),
    ]
