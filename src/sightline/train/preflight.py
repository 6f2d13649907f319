"""The preflight: whether this machine can do a training, judged before any epoch, in seconds.

Cores, memory, shared memory, disks and GPUs are known only where the stage runs; validate may run on another machine.
What cannot work is refused, all of it at once; what is unwise is said. Whether the processes of a training reach each
other is found by themselves: `engine/group_check.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from sightline.config import TrainConfig
from sightline.documents import Preflight, Split
from sightline.errors import DeviceError, SightlineError, StorageError
from sightline.runtime import machine, progress, provenance
from sightline.runtime.machine import Memory, size_text
from sightline.snapshots import Snapshot
from sightline.train import checkpoints, needs, passes
from sightline.train.disk_room import Room, by_disk, full_disks, tightest
from sightline.train.engine.group_check import FILE
from sightline.train.own_folder import made_own

CANNOT = "This machine cannot do this training:"
LOADED: tuple[Split, ...] = ("train", "val")  # the splits whose images a training loads


def check(
    config: TrainConfig, size: str | None, out: Path, work: Path, start: Path | None = None, *, keeps: bool = True
) -> Preflight:
    """Refuse what this machine cannot do, report what is unwise, and return what was seen.

    `size` is the model's, n to x; None if unknown. Results will be written to `out`, checkpoints to `work`; `start` is
    the file that training starts from, if there is one here. Without `keeps`, as on other nodes than the first, neither
    is written. Raises DeviceError if this machine cannot do the training, StorageError if only its disk is too full.
    """
    begun = time.monotonic()
    memory, cores, shared = machine.memory(), machine.cores(), machine.shared_memory()
    problems, warnings = judge(config, size, memory, cores, shared)
    gpus = len(provenance.visible_gpus())
    if gpus < config.gpus:
        problems.insert(
            0,
            f"train.gpus: got {config.gpus}, but this machine shows {gpus} NVIDIA GPUs. "
            "Set train.gpus to what is there, or to 0 to train on the CPU.",
        )
    rooms = _rooms(config, size, out, work) if keeps else []
    _refuse(problems, full_disks(rooms))
    for warning in [*warnings, *(_may_fill_the_disk(config, size, work, start) if keeps else [])]:
        progress.notice(f"{warning}.")
    free, needed = tightest(rooms)
    return Preflight(
        seconds=round(time.monotonic() - begun, 3),
        ranks=config.world_size,
        gpus=gpus,
        memory_free_bytes=memory.room,
        memory_needed_bytes=needs.memory(config, size or "n", cores, _passing(config, size, cores, memory)),
        shm_free_bytes=shared and shared[1],
        shm_needed_bytes=needs.shared_memory(config, cores),
        disk_free_bytes=free,
        disk_needed_bytes=needed,
    )


def check_cache(
    config: TrainConfig, size: str | None, out: Path, folder: Path, data: Snapshot, seen: Preflight
) -> Preflight:
    """Refuse a `train.cache` that this machine cannot hold, and return what was seen with what the cache needs.

    `data` has the images of train and val, whose sizes decide, and `folder` is where a training keeps them decoded; the
    other arguments are those of `check`, and `seen` is its result. Where memory could hold them but is not free, they
    are not kept: `cache` of what is returned. Raises like `check`.
    """
    begun = time.monotonic()
    if config.cache == "ram":
        sizes = [(sample.width, sample.height) for split in LOADED for sample in data.stream(split)]
        cached = config.node_processes * needs.ram_cache(config, sizes)
        problems, warnings = judge_ram_cache(config, len(sizes), cached, seen.memory_needed_bytes, machine.memory())
        _refuse(problems, [])
        for warning in warnings:
            progress.notice(f"{warning}.")
        if not warnings:
            needed = seen.memory_needed_bytes + cached
            seen = seen.model_copy(update={"cache": "ram", "memory_needed_bytes": needed})
    elif config.cache == "disk" and not made_own(folder):
        progress.notice(f"others can write into {folder}, and it cannot be made anew: decoded images are not kept.")
    elif config.cache == "disk":
        missing = needs.disk_cache(size for split in LOADED for size in _not_on_disk(data, split, folder))
        what = "the decoded images that train.cache=disk keeps"
        instead = "set SIGHTLINE_WORK to a folder elsewhere or train.cache to off, and run again"
        rooms = [Room(folder, missing, what, instead), *_rooms(config, size, out, folder.parents[1])]
        _refuse([], full_disks(rooms))
        free, needed_there = tightest(rooms)
        seen = seen.model_copy(update={"cache": "disk", "disk_free_bytes": free, "disk_needed_bytes": needed_there})
    return seen.model_copy(update={"seconds": round(seen.seconds + time.monotonic() - begun, 3)})


def with_group(seen: Preflight, attempt: Path) -> Preflight:
    """Return what was seen with what the processes measured in an attempt's folder, if they came that far."""
    try:
        measured = json.loads((attempt / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:  # a single process, or an attempt that ended before
        return seen
    return seen.model_copy(
        update={
            "ranks": measured["ranks"],
            "all_reduce_gb_per_s": measured["all_reduce_gb_per_s"],
            "seconds": round(seen.seconds + measured["seconds"], 3),
        }
    )


def judge(
    config: TrainConfig, size: str | None, memory: Memory, cores: int, shared: tuple[int, int] | None
) -> tuple[list[str], list[str]]:
    """Return what makes a training impossible on a machine, and what makes it unwise.

    `size` is the model's, n to x; None counts as nano, the smallest. `shared` is the size and the free part
    of shared memory, in bytes.
    """
    problems: list[str] = []
    warnings: list[str] = []
    passing = _passing(config, size, cores, memory)
    need = needs.memory(config, size or "n", cores, passing)
    words = _needs_memory(config, need, cores, passing)
    names = "train.image_size" + (" or train.cpu_processes" if config.cpu_processes > 1 else "")
    if need > memory.most + memory.swap:
        fits = passes.held(config, size or "n", cores, memory.most + memory.swap)
        less = needs.memory(config, size or "n", cores, fits) <= memory.most + memory.swap
        batch = "train.batch" + (f" ({fits} may fit)" if less else "")
        problems.append(f"{words}. {_most(memory)}: lower {batch}, {names}, or give it more memory.")
    elif need > memory.room:
        warnings.append(
            f"{words}, and only {size_text(memory.room)} of {size_text(memory.most)} are free: the kernel may "
            f"end it when memory runs out. Lower train.batch, {names}, or end what else runs"
        )
    if not config.gpus and config.cpu_processes > cores:
        warnings.append(
            f"train.cpu_processes is {config.cpu_processes}, and there are {cores} cores: more processes than cores "
            "only cost memory and time"
        )
    if config.gpus and (loaders := needs.loaders(config, cores)) < config.workers:
        warnings.append(
            f"train.workers is {config.workers} for each of {config.gpus} GPUs, and there are {cores} cores: "
            f"{loaders} each are used"
        )
    if config.world_size > 1 and config.batch == config.world_size and not config.sync_bn:
        cure = f"raise train.batch to {2 * config.world_size} or more" + (", or set train.sync_bn" * (config.gpus > 0))
        warnings.append(
            f"train.batch {config.batch} leaves each of {config.world_size} processes a single image, by which batch "
            f"normalisation learns badly: {cure}"
        )
    if config.workers and shared is not None:
        _judge_shared_memory(config, cores, shared, problems, warnings)
    return problems, warnings


def judge_ram_cache(
    config: TrainConfig, images: int, cached: int, need: int, memory: Memory
) -> tuple[list[str], list[str]]:
    """Return why images can never be kept in memory, and why they are not kept now.

    `cached` are the bytes of `images` in all processes of a node, `need` those of the training without them.
    """
    each = f"in each of {config.node_processes} processes" if config.node_processes > 1 else "in memory"
    words = (
        f"train.cache=ram keeps {images:,} images, decoded at up to {config.image_size} pixels, {each}: "
        f"{size_text(cached)}, and {size_text(need + cached)} with the training itself"
    )
    cure = "set train.cache to disk or off"
    if need + cached > memory.most + memory.swap:
        return [f"{words}. {_most(memory)}: {cure}, or give it more memory."], []
    if need + cached > memory.room:
        room = f"{size_text(memory.room)} of {size_text(memory.most)}"
        return [], [f"{words}, and only {room} are free: they are not kept. End what else runs, or {cure}"]
    return [], []


def _rooms(config: TrainConfig, size: str | None, out: Path, work: Path) -> list[Room]:
    """Return the least that a training writes. A model of unknown size counts as nano."""
    parameters = needs.PARAMETERS[size or "n"]
    model = f"a model of size {size}" if size else "even a nano model"
    # A training that goes on has some already.
    there = sum(path.stat().st_size for path in (work / checkpoints.FOLDER).glob("*.pt"))
    missing = max(0, needs.CHECKPOINTS * needs.checkpoint(config, parameters) - there)
    return [
        Room(work, missing, f"the checkpoints of {model}"),
        Room(out, needs.RESULT * parameters, f"the result of {model}"),
    ]


def _may_fill_the_disk(config: TrainConfig, size: str | None, work: Path, start: Path | None) -> list[str]:
    """Say whether checkpoints may not fit that a training does not write in any case, or whose size is not sure."""
    parameters = needs.PARAMETERS[size or "n"]
    if size is None and start is not None:
        parameters = start.stat().st_size // needs.HALF  # more than it has, if the file holds an optimizer
    count = needs.CHECKPOINTS + needs.kept_epochs(config)
    needed = count * needs.checkpoint(config, parameters)
    period = f" (train.save_period {config.save_period})" if config.save_period else ""
    return [
        f"up to {count} checkpoints{period} need {size_text(needed)}, and {size_text(free)} are free in {work}"
        for free, _ in by_disk([Room(work, needed, "checkpoints")])
        if free < needed
    ]


def _refuse(problems: Sequence[str], full: Sequence[StorageError]) -> None:
    """Raise what was found, if anything: a single full disk as its own error."""
    if not problems and not full:
        return
    if not problems and len(full) == 1:
        raise full[0]
    kind: type[SightlineError] = DeviceError if problems else StorageError
    raise kind(CANNOT, [*problems, *(str(error) for error in full)])


def _not_on_disk(data: Snapshot, split: str, folder: Path) -> list[tuple[int, int]]:
    """Return width and height of the images that earlier attempts have not left decoded in `folder`."""
    decoded = {path.stem for path in (folder / split).glob("*.npy")}
    return [(it.width, it.height) for it in data.stream(split) if Path(it.name).stem not in decoded]


def _most(memory: Memory) -> str:
    if memory.limit is not None and memory.most == memory.limit:
        return f"The container's limit is {size_text(memory.most)}"
    return f"The machine has {size_text(memory.most)}"


def _passing(config: TrainConfig, size: str | None, cores: int, memory: Memory) -> int:
    """Return how many images will pass at a time over all nodes, as far as it is known before a card is measured."""
    return passes.held(config, size or "n", cores, memory.room) if passes.by_memory(config) else config.batch


def _needs_memory(config: TrainConfig, need: int, cores: int, passing: int) -> str:
    """Return a clause that says how much memory a training needs on this node, and what for."""
    processes = config.node_processes
    many = f"{processes} processes" if processes > 1 else "One process"
    words = f"need{'s' * (processes == 1)} about {size_text(need)} of memory or more"
    if config.gpus:
        return f"{many} on GPUs with {processes * needs.loaders(config, cores)} loaders {words}"
    share = f"{passing // config.nodes} images of {config.image_size} pixels"
    return f"{many} on the CPU with batches of {share} {words}"


def _judge_shared_memory(
    config: TrainConfig, cores: int, shared: tuple[int, int], problems: list[str], warnings: list[str]
) -> None:
    """Judge the shared memory in which loaders hand over images."""
    batch, need = needs.batch(config), needs.shared_memory(config, cores)
    cure = "give it more (docker: --shm-size; Kubernetes: a Memory volume at /dev/shm), or set train.workers=0"
    if shared[0] < batch:
        problems.append(
            f"/dev/shm holds {size_text(shared[0])}, and a batch of images, which loaders hand over in it, "
            f"{size_text(batch)}: {cure}."
        )
    elif shared[1] < need:
        warnings.append(
            f"/dev/shm has {size_text(shared[1])} free, and {config.node_processes * needs.loaders(config, cores)} "
            f"loaders may fill up to {size_text(need)}: {cure}"
        )
