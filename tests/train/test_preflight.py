"""What a machine cannot do is refused before it costs anything; what is unwise is said."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline.config import TrainConfig
from sightline.datasets.synthetic import draw
from sightline.errors import DeviceError, StorageError
from sightline.runtime import machine
from sightline.runtime.machine import Memory
from sightline.snapshots import Snapshot, fetch, publish
from sightline.storage import open_store
from sightline.train import needs
from sightline.train.engine.group_check import FILE
from sightline.train.preflight import check, check_cache, judge, judge_ram_cache, with_group
from sightline.weights import model_size
from tests.helpers.memory import MemoryDataset

GB = 10**9
HUGE = ("train.batch=4096", "train.image_size=4096")  # more than any machine's memory holds
LAPTOP = Memory(total=16 * GB, available=12 * GB, swap=0, limit=None, used=None, peak=None)
POD = Memory(total=256 * GB, available=200 * GB, swap=0, limit=8 * GB, used=GB, peak=None)


def judged(
    config: dict[str, Any], memory: Memory = LAPTOP, weights: str = "yolo11n.pt", cores: int = 8, shared: int = 8 * GB
) -> tuple[list[str], list[str]]:
    return judge(TrainConfig(**config), model_size(weights), memory, cores, (shared, shared))


@pytest.mark.parametrize(
    ("config", "memory", "weights", "words"),
    [
        ({"cpu_processes": 64, "batch": 64, "image_size": 64}, LAPTOP, "yolo11n.pt", "64 processes on the CPU"),
        ({"batch": 512}, LAPTOP, "yolo11n.pt", "One process on the CPU with batches of 512 images of 640 pixels"),
        ({"batch": 16, "image_size": 4096}, LAPTOP, "yolo11n.pt", "The machine has 16.0 GB"),
        ({"batch": 32}, POD, "yolo11n.pt", "The container's limit is 8.0 GB"),
        ({"batch": 16}, POD, "yolo11x.pt", "lower train.batch (4 may fit), train.image_size, or give it more memory"),
        ({"gpus": 32, "batch": 32}, POD, "yolo11n.pt", "32 processes on GPUs"),
    ],
)  # fmt: skip
def test_a_training_that_memory_cannot_hold_is_refused(
    config: dict[str, int], memory: Memory, weights: str, words: str
) -> None:
    problems, _ = judged(config, memory, weights)
    [problem] = problems
    assert words in problem
    assert re.search(r"needs? about [\d.]+ GB of memory or more", problem)


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
    _, [on_cpu] = judged({"batch": 16, "workers": 2}, shared=64_000_000)
    assert on_cpu.startswith("/dev/shm has 64 MB free, and 2 loaders may fill up to 158 MB")
    _, [of_two] = judged({"batch": 16, "workers": 2, "cpu_processes": 2}, shared=64_000_000)
    assert "4 loaders may fill up to 158 MB" in of_two, "twice the loaders, with half the images each"
    _, [of_a_node] = judged({"batch": 32, "workers": 2, "cpu_processes": 2, "nodes": 2}, shared=64_000_000)
    assert of_a_node == of_two, "what the other node hands over is not in this one's"


@pytest.mark.parametrize(
    ("config", "size", "bytes_of_a_parameter"),
    [
        ({"optimizer": "AdamW", "batch": 64}, "n", 16),
        ({"optimizer": "SGD", "batch": 64}, "n", 12),
        ({"optimizer": "AdamW", "batch": 16}, "x", 20),
    ],
)
def test_a_checkpoint_holds_weights_average_optimizer_and_what_has_been_gathered(
    config: dict[str, Any], size: str, bytes_of_a_parameter: int
) -> None:
    parameters = needs.PARAMETERS[size]
    assert needs.checkpoint(TrainConfig(**config), parameters) == bytes_of_a_parameter * parameters


def test_a_single_image_for_each_process_is_unwise_unless_they_normalise_together() -> None:
    _, [warning] = judged({"batch": 4, "cpu_processes": 4})
    assert warning.startswith("train.batch 4 leaves each of 4 processes a single image, by which batch normalisation")
    assert warning.endswith("raise train.batch to 8 or more")
    assert judged({"batch": 8, "cpu_processes": 4}) == ([], [])
    assert judged({"batch": 4, "gpus": 4, "sync_bn": True}) == ([], [])


def test_a_cache_in_memory_counts_once_for_each_process() -> None:
    config = TrainConfig(cache="ram", cpu_processes=2)
    of_one = needs.ram_cache(config, [(1280, 720)] * 1000)
    assert of_one == 1000 * 640 * 360 * 3, "the longer side at 640 pixels"
    assert judge_ram_cache(config, 1000, 2 * of_one, 4 * GB, POD) == ([], [])
    [problem], [] = judge_ram_cache(config, 5000, 10 * of_one, 4 * GB, POD)
    assert problem == (
        "train.cache=ram keeps 5,000 images, decoded at up to 640 pixels, in each of 2 processes: 6.9 GB, and 10.9 GB "
        "with the training itself. The container's limit is 8.0 GB: set train.cache to disk or off, or give it more "
        "memory."
    )
    [], [warning] = judge_ram_cache(config, 2400, round(4.8 * of_one), 4 * GB, POD)
    assert "and only 7.0 GB of 8.0 GB are free: they are not kept. End what else runs, or set train.cache" in warning


def filled(folder: Path) -> Snapshot:
    """Return a fetched snapshot of drawn images, 16 in train and 4 in val."""
    dataset = MemoryDataset(folder / "in")
    for number in range(20):
        dataset.put("train" if number < 16 else "val", f"{number}.png", size=1000)
    return fetch(publish(dataset, open_store(f"{folder}/store")).uri, ("train", "val"))


def test_what_a_cache_needs_is_added_to_what_was_seen(tmp_path: Path) -> None:
    places, folder = (tmp_path / "out", tmp_path / "work"), tmp_path / "work" / "cache" / "5f"
    data = filled(tmp_path)
    [(width, height)] = {(sample.width, sample.height) for sample in data.stream("train")}
    off, ram, disk = (TrainConfig(image_size=64, batch=4, cache=kind) for kind in ("off", "ram", "disk"))
    seen = check(off, "n", *places)
    assert check_cache(off, "n", places[0], folder, data, seen).memory_needed_bytes == seen.memory_needed_bytes
    kept = check_cache(ram, "n", places[0], folder, data, seen)
    assert kept.cache == "ram"
    assert kept.memory_needed_bytes - seen.memory_needed_bytes == needs.ram_cache(ram, [(width, height)] * 20)
    written = check_cache(disk, "n", places[0], folder, data, seen)
    assert written.disk_needed_bytes - seen.disk_needed_bytes == 20 * (width * height * 3 + 128)

    first = next(data.stream("train"))
    array = folder / "train" / f"{Path(first.image).stem}.npy"
    array.parent.mkdir(parents=True)
    np.save(array, np.zeros((height, width, 3), np.uint8))
    left = check_cache(disk, "n", places[0], folder, data, seen)
    assert written.disk_needed_bytes - left.disk_needed_bytes == array.stat().st_size


def test_what_was_seen_is_kept_for_the_document(tmp_path: Path) -> None:
    config = TrainConfig(image_size=64, batch=4, workers=1, cpu_processes=2, nominal_batch=4)
    seen = check(config, None, tmp_path / "out", tmp_path / "work")
    assert seen.ranks == 2
    assert seen.shm_needed_bytes == 2 * 4 * 2 * 3 * 64**2
    assert seen.disk_needed_bytes == (4 * 16 + 8) * needs.PARAMETERS["n"]
    assert seen.memory_needed_bytes == needs.memory(config, "n", machine.cores())
    assert 0 < seen.memory_free_bytes <= machine.memory().most
    assert seen.seconds < 5
    (tmp_path / "work" / "checkpoints").mkdir(parents=True)
    (tmp_path / "work" / "checkpoints" / "epoch-0001.pt").write_bytes(b"weights")
    again = check(config, None, tmp_path / "out", tmp_path / "work")
    assert again.disk_needed_bytes == seen.disk_needed_bytes - len(b"weights"), "what is there needs no more room"
    assert with_group(seen, tmp_path) == seen, "no processes have met"
    (tmp_path / FILE).write_text(json.dumps({"ranks": 2, "all_reduce_gb_per_s": 1.5, "seconds": 0.25}))
    assert with_group(seen, tmp_path).all_reduce_gb_per_s == 1.5


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 10 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_too_small_for_results_or_checkpoints_is_refused(small_disk: Path, tmp_path: Path) -> None:
    config = TrainConfig(image_size=64, batch=16, nominal_batch=16)
    with pytest.raises(StorageError, match=r"result of even a nano model: it needs 14\.9 MB, 10\.5 MB"):
        check(config, None, small_disk / "out", tmp_path)
    with pytest.raises(StorageError) as caught:
        check(config, "s", small_disk / "out", small_disk / "work")
    both = "the checkpoints of a model of size s and the result of a model of size s: it needs 668.5 MB, 10.5 MB are"
    assert both in str(caught.value), "they lie on one disk"
    impossible = config.model_copy(update={"gpus": 64, "batch": 64})
    with pytest.raises(DeviceError) as refused:
        check(impossible, None, small_disk / "out", tmp_path)
    assert "train.gpus: got 64" in refused.value.problems[0]
    assert "No space left for the result" in refused.value.problems[-1]


def test_checkpoints_that_may_not_fit_are_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = TrainConfig(image_size=64, batch=16, nominal_batch=16, save_period=1, epochs=10_000)
    check(config, "x", tmp_path / "out", tmp_path / "work")
    assert "note: up to 10004 checkpoints (train.save_period 1) need 9118.2 GB, and " in capsys.readouterr().err
    start = tmp_path / "start.pt"
    with start.open("wb") as file:
        file.truncate(10**13)  # takes no room
    check(config.model_copy(update={"save_period": 0}), None, tmp_path / "out", tmp_path / "work", start)
    assert "note: up to 4 checkpoints need 320000.0 GB" in capsys.readouterr().err


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
    assert "4096 images of 4096 pixels needs about" in " ".join(done.stderr.split())
    assert not (tmp_path / "run" / "train").exists()
