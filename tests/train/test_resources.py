"""What a machine cannot do is refused before it costs anything; what is unwise is said."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.config import TrainConfig
from sightline.datasets.synthetic import draw
from sightline.runtime import machine
from sightline.runtime.machine import Memory
from sightline.train.resources import judge
from sightline.weights import model_size

GB = 10**9
HUGE = ("train.batch=4096", "train.image_size=4096")  # more than any machine's memory holds
LAPTOP = Memory(total=16 * GB, available=12 * GB, swap=0, limit=None, used=None, peak=None)
POD = Memory(total=256 * GB, available=200 * GB, swap=0, limit=8 * GB, used=GB, peak=None)


def judged(
    config: dict[str, int], memory: Memory = LAPTOP, weights: str = "yolo11n.pt", cores: int = 8, shared: int = 8 * GB
) -> tuple[list[str], list[str]]:
    return judge(TrainConfig(**config), model_size(weights), memory, cores, (shared, shared))


@pytest.mark.parametrize(
    ("config", "memory", "weights", "words"),
    [
        ({"cpu_processes": 64, "batch": 64, "image_size": 64}, LAPTOP, "yolo11n.pt", "64 processes on the CPU"),
        ({"batch": 512}, LAPTOP, "yolo11n.pt", "One process on the CPU with batches of 512 images of 640 pixels"),
        ({"batch": 16, "image_size": 4096}, LAPTOP, "yolo11n.pt", "The machine has 16.0 GB"),
        ({"batch": 32}, POD, "yolo11n.pt", "The container's limit is 8.0 GB"),
        ({"batch": 16}, POD, "yolo11x.pt", "lower train.batch, train.image_size, or give it more memory"),
        ({"gpus": 32, "batch": 32}, POD, "yolo11n.pt", "32 processes on GPUs"),
    ],
)  # fmt: skip
def test_a_training_that_memory_cannot_hold_is_refused(
    config: dict[str, int], memory: Memory, weights: str, words: str
) -> None:
    problems, _ = judged(config, memory, weights)
    [problem] = problems
    assert words in problem
    assert re.search(r"need about [\d.]+ GB of memory or more", problem)


@pytest.mark.parametrize(
    ("config", "memory"),
    [
        ({}, LAPTOP),
        ({"batch": 32}, LAPTOP),
        ({"cpu_processes": 8, "batch": 16, "image_size": 320}, LAPTOP),
        ({"batch": 16}, POD),
        ({"gpus": 4, "batch": 64, "workers": 2}, POD),
    ],
)
def test_a_training_that_fits_is_let_through_and_nothing_is_said(config: dict[str, int], memory: Memory) -> None:
    assert judged(config, memory) == ([], [])


def test_weights_of_an_unknown_size_are_taken_for_the_smallest() -> None:
    assert judged({"batch": 16}, POD, "s3://store/weights/0ebb.pt")[0] == []
    assert judged({"batch": 16}, POD, "/home/me/yolov8x.pt")[0] != []


def test_what_is_unwise_is_said() -> None:
    busy = Memory(total=16 * GB, available=2 * GB, swap=0, limit=None, used=None, peak=None)
    _, [warning] = judged({}, busy)
    assert "only 2.0 GB of 16.0 GB are free" in warning
    _, [warning] = judged({"cpu_processes": 4, "image_size": 64}, cores=2)
    assert warning.startswith("train.cpu_processes is 4, and there are 2 cores")
    _, [warning] = judged({"gpus": 2, "workers": 8}, cores=8)
    assert warning == "train.workers is 8 for each of 2 GPUs, and there are 8 cores: 4 each are used"


def test_swap_lets_a_training_start_and_is_no_reason_to_be_silent() -> None:
    swapping = Memory(total=4 * GB, available=3 * GB, swap=8 * GB, limit=None, used=None, peak=None)
    problems, [warning] = judged({"batch": 16}, swapping)
    assert problems == []
    assert "the kernel may end it when memory runs out" in warning


def test_shared_memory_of_a_container_is_judged_for_what_loads_images() -> None:
    problems, _ = judged({"gpus": 1, "batch": 64}, shared=64_000_000)
    assert problems[0].startswith("/dev/shm holds 64 MB, and a batch of images, which loaders hand over in it, 79 MB:")
    problems, [warning] = judged({"gpus": 1, "batch": 16, "workers": 4}, shared=64_000_000)
    assert problems == []
    assert warning.startswith("/dev/shm has 64 MB free, and 4 loaders may fill up to 315 MB: give it more")
    assert judged({"gpus": 1, "batch": 64, "workers": 0}, shared=64_000_000) == ([], [])
    assert judged({"batch": 16}, shared=64_000_000) == ([], []), "on a CPU nothing is handed over"


def test_a_run_is_refused_before_it_starts_and_leaves_nothing(command: Callable, tmp_path: Path) -> None:
    options = [text for value in HUGE for text in ("--set", value)]
    done = command("run", "--weights", "yolo11n.yaml", *options, "--set", "train.cpu_processes=64", cwd=tmp_path)
    message = " ".join(done.stderr.split())
    assert done.returncode == 2
    assert "This machine cannot do this training: - 64 processes on the CPU with batches of 4096 images of" in message
    assert f"The machine has {machine.size_text(machine.memory().most)}: lower train.batch" in message
    assert "there are" not in message, "what is unwise does not matter any more"
    assert not (tmp_path / "runs").exists()


def test_train_judges_the_machine_that_it_runs_on_and_validate_does_not(command: Callable, tmp_path: Path) -> None:
    draw(tmp_path / "data")
    options = [text for value in HUGE for text in ("--set", value)]
    done = command("validate", "--data", "data", "--weights", "yolo11n.yaml", "--run", "run", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = command("train", "--run", "run", cwd=tmp_path)
    assert done.returncode == 2
    assert "4096 images of 4096 pixels need about" in " ".join(done.stderr.split())
    assert not (tmp_path / "run" / "train").exists()

    disk = tmp_path / "run" / "train"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", disk], capture_output=True, check=False)
    if mount.returncode:
        return  # needs the right to mount a small file system
    try:
        done = command("train", "--run", "run", "--set", "train.batch=16", "--set", "train.image_size=64", cwd=tmp_path)
    finally:
        subprocess.run(["umount", disk], check=True)
    assert done.returncode == 1
    assert "it needs 60.0 MB, 21.0 MB are free in run/train" in " ".join(done.stderr.split())
