"""Sizes where training runs: loaders by the machine, images of a pass by steps that are measured."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sightline.config import TrainConfig
from sightline.config.assignments import apply
from sightline.config.presets import quickstart, resolve
from sightline.documents import Attempt, AttemptSettings
from sightline.documents.sizing import Card, Probed, Sizing
from sightline.errors import ConfigError, DeviceError
from sightline.runtime import devices
from sightline.runtime.machine import Memory
from sightline.storage.lock import Lock
from sightline.train import passes, probe, sizing, work_folder
from sightline.train.decisions import Step, decide, first
from sightline.train.supervisor import Training
from sightline.train.work_folder import WorkFolder
from tests.helpers.built_trainer import small

pytestmark = pytest.mark.timeout(300)
GB = 10**9
PLENTY = Memory(total=512 * GB, available=400 * GB, swap=0, limit=None, used=None, peak=None)
KEY = "0" * 64


def sized(values: dict[str, Any], tier: Any = None) -> TrainConfig:
    return resolve("balanced", values, tier).train


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data.yaml of a few drawn images."""
    return small(tmp_path_factory.mktemp("drawn") / "set")


@pytest.fixture
def training(drawn: Path, tmp_path: Path) -> Callable[..., Training]:
    """A training of these values on the drawn set, in a folder of its own."""

    def made(**values: Any) -> Training:
        options = {"train.sizing": "auto", "train.image_size": 64, "train.nominal_batch": 32}
        config = apply(quickstart(), {**options, **{f"train.{name}": value for name, value in values.items()}}).train
        work = WorkFolder(tmp_path / "work", Lock(tmp_path / "a.lock"))
        work.folder.mkdir(exist_ok=True)
        log = tmp_path / "train.log"
        found = sizing.loaders(config)
        return Training(KEY, KEY, config, drawn, "yolo11n.yaml", work, log, images=24, loaders=found)

    return made


@pytest.mark.parametrize(
    ("values", "cores", "memory", "shared", "loaders", "by"),
    [
        ({}, 32, PLENTY, 99 * GB, 8, "preset or its tier"),
        ({"train.gpus": 4}, 16, PLENTY, 99 * GB, 4, "16 cores for 4 processes"),
        ({}, 1, PLENTY, 99 * GB, 1, "1 core for 1 process"),
        ({}, 32, PLENTY, 4 * GB, 4, "/dev/shm"),  # a batch of 64 images has 79 MB, and a loader prepares 12
        ({}, 32, PLENTY, 64 << 20, 0, "/dev/shm"),  # what a container has by default
        ({"train.gpus": 4}, 64, PLENTY, 4 * GB, 4, "/dev/shm"),  # four processes with a quarter of the batch each
        ({}, 32, Memory(4 * GB, 2 * GB, 0, None, None, None), 99 * GB, 2, "of memory free"),
        ({}, 32, Memory(512 * GB, 400 * GB, 0, GB, GB, None), 99 * GB, 0, "of memory free"),
        ({"train.workers": 12}, 32, Memory(4 * GB, 2 * GB, 0, None, None, None), 64 << 20, 12, "train.workers"),
        ({"train.workers": 12, "train.gpus": 4}, 16, PLENTY, 99 * GB, 4, "16 cores"),
        ({"train.sizing": "off"}, 32, PLENTY, 64 << 20, 4, "train.workers"),
    ],
)
def test_loaders_follow_cores_processes_shared_memory_and_memory(
    values: dict[str, Any], cores: int, memory: Memory, shared: int, loaders: int, by: str
) -> None:
    config = sized({"train.gpus": 1, **values}, None if "train.sizing" in values else "high")
    found = sizing.limited(config, "l", cores, memory, (shared, shared))
    assert found.number == loaders
    assert by in found.by
    planned = sizing.planned(config, found)
    assert planned.workers == (config.workers if values.keys() & {"train.workers", "train.sizing"} else loaders)


@pytest.mark.parametrize(
    ("values", "images", "ceiling", "sizes"),
    [
        ({"train.nominal_batch": 64}, 1000, None, [1, 2, 4, 8, 16, 32, 64]),
        ({"train.nominal_batch": 64, "train.gpus": 4}, 1000, None, [4, 8, 16, 32, 64]),
        ({"train.nominal_batch": 60, "train.gpus": 3}, 1000, None, [3, 6, 12, 15, 30, 60]),
        ({"train.nominal_batch": 64, "train.gpus": 2, "train.nodes": 2}, 1000, None, [4, 8, 16, 32, 64]),
        ({"train.nominal_batch": 64}, 40, None, [1, 2, 4, 8, 16, 32]),  # no more than images
        ({"train.nominal_batch": 64}, 1000, 8, [1, 2, 4, 8]),  # no more than after memory ran out
        ({"train.nominal_batch": 64, "train.gpus": 4}, 3, None, [4]),
        ({"train.batch": 24, "train.nominal_batch": 64}, 1000, None, [1, 2, 3, 4, 6, 8, 12, 24]),
        # The largest batch that a configuration takes is 4096: here it is half of what the optimizer sees.
        ({"train.nominal_batch": 4998}, 10**6, None, [1, 3, 7, 17, 21, 49, 51, 119, 147, 357, 833, 2499]),
    ],
)  # fmt: skip
def test_passes_are_divisors_of_the_batch_that_the_processes_share(
    values: dict[str, Any], images: int, ceiling: int | None, sizes: list[int]
) -> None:
    config = sized({"train.gpus": 1, **values})
    assert passes.candidates(config, images, ceiling) == sizes


@pytest.mark.parametrize(("gigabytes", "most"), [(400, 64), (4, 8), (3, 8), (2, 4), (1, 1)])
def test_on_cpus_passes_are_as_large_as_memory_holds(gigabytes: float, most: int) -> None:
    config = sized({"train.nominal_batch": 64, "train.workers": 0})
    assert passes.by_memory(config)
    assert passes.held(config, "n", 2, int(gigabytes * GB)) == most
    assert not passes.by_memory(sized({"train.batch": 16}))
    assert not passes.by_memory(sized({"train.gpus": 1}))


def found(held: list[float | None], allowed: float = 8.5) -> probe.Found:
    """What a probe of 10 GB leaves that held so many GB with 1, 2, 4, … images."""
    probed = [
        Probed(
            images=1 << place,
            memory_bytes=None if gb is None else round(gb * GB),
            fits=gb is not None and gb <= allowed,
            seconds=0.1,
        )
        for place, gb in enumerate(held)
    ]
    return probe.Found(free_bytes=10 * GB, allowed_bytes=round(allowed * GB), boxes=40, side=640, probed=probed)


def test_the_largest_pass_under_its_share_is_taken() -> None:
    config, sizes = sized({"train.gpus": 2, "train.nominal_batch": 16}), [2, 4, 8, 16]
    taken = sizing.choose(config, "card", found([1, 2, 4, 8]), sizes, strict=False)
    assert taken.batch == 16
    assert taken.reason == "the largest that fits: 8.0 GB of 8.5 GB, 85 % of 10.0 GB free on card"
    assert sizing.choose(config, "card", found([2, 4, 8, 9]), sizes, strict=False).batch == 8
    assert sizing.choose(config, "card", found([8, None]), sizes, strict=False).batch == 2
    least = sizing.choose(config, "card", found([9, None]), sizes, strict=False)
    assert (least.batch, "the least" in least.reason) == (2, True)


def test_a_batch_that_the_card_does_not_hold_is_refused_with_what_fits() -> None:
    config = sized({"train.gpus": 1, "train.batch": 8, "train.nominal_batch": 64})
    with pytest.raises(ConfigError) as caught:
        sizing.choose(config, "card", found([2, 4, 8, None]), [1, 2, 4, 8], strict=True)
    assert re.search(r"train\.batch: got 8, and card with 10\.0 GB free does not hold .* 4 fit\.", str(caught.value))
    assert caught.value.exit_code == 2
    tight = sizing.choose(config, "card", found([1, 2, 4, 9]), [1, 2, 4, 8], strict=True)
    assert tight.batch == 8  # it passed, if with more than its share


def test_a_card_that_does_not_hold_one_image_is_refused_unless_a_smaller_image_may_follow() -> None:
    config = sized({"train.gpus": 1})
    with pytest.raises(DeviceError, match=r"card has 10\.0 GB free, which do not hold a single image of 640 pixels"):
        sizing.choose(config, "card", found([None]), [1, 2], strict=False)
    every = sized({"train.gpus": 1, "train.recover": "all"})
    assert sizing.choose(every, "card", found([None]), [1, 2], strict=False).batch == 1


def test_what_chose_sizes_is_no_part_of_a_training() -> None:
    def key(config: TrainConfig) -> str:
        return work_folder.training_key(snapshot="s", weights="w", config=config, code="c")

    asked = {"train.batch": 32, "train.nominal_batch": 32, "train.workers": 4, "train.image_size": 640}
    by_tier, by_hand = sized({}, "medium"), sized({**asked, "train.sizing": "off"})
    assert by_tier.given != by_hand.given
    assert key(by_tier) == key(by_hand)
    assert key(by_tier) != key(sized({}, "high"))


def test_on_cpus_what_memory_holds_passes_and_nothing_is_measured(training: Callable[..., Training]) -> None:
    this = training()
    step, chosen = sizing.settle(this, Step(first(this.config)), [])
    assert chosen
    assert (chosen.tier, chosen.card, chosen.probed) == ("cpu", None, [])
    # No more than the 24 images of train; the optimizer sees the same.
    assert (step.settings.batch, step.settings.accumulation, chosen.effective_batch) == (16, 2, 32)
    assert "on CPUs nothing is measured" in chosen.reason
    given = training(batch=32)
    step, chosen = sizing.settle(given, Step(first(given.config)), [])
    assert chosen
    assert (step.settings.batch, chosen.batch) == (32, 32)
    assert chosen.reason.startswith("as train.batch asks for")
    off = training(sizing="off")
    assert sizing.settle(off, Step(first(off.config)), []) == (Step(first(off.config)), None)


def test_real_steps_with_more_and_more_images_end_where_memory_does(training: Callable[..., Training]) -> None:
    this = training(multi_scale=0.5, **{"augment.mosaic": 1.0, "augment.mixup": 0.1})
    free = probe.run(this, first(this.config), [1, 4, 16], card=None)
    assert isinstance(free, probe.Found), free
    labels = [path.read_text().splitlines() for path in this.data_yaml.parent.glob("labels/train/*.txt")]
    assert free.boxes == 8 * max(map(len, labels))  # of two mosaics of the fullest image
    assert free.side == 96
    assert [one.images for one in free.probed] == [1, 4, 16]
    held = [one.memory_bytes or 0 for one in free.probed]
    assert held == sorted(held)
    assert held[-1] - held[1] > 12 * 3 * 96 * 96 * 4  # more than the images of 12 more alone
    assert free.allowed_bytes == int(0.85 * free.free_bytes)
    assert all(one.fits and one.seconds > 0 for one in free.probed)
    assert not (this.work.folder / probe.FOLDER).exists()

    between = (held[1] + held[2]) // 2
    short = probe.run(this, first(this.config), [1, 4, 16, 32], card=None, to_the_end=True, memory_limit=between)
    assert isinstance(short, probe.Found)
    assert [one.memory_bytes is None for one in short.probed] == [False, False, True]
    assert not any(one.fits for one in short.probed)  # a process holds more than 85 % of that by itself


def test_a_probe_that_fails_says_why_and_leaves_the_choice_to_the_table(
    training: Callable[..., Training], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card that nvidia-smi lists, and that torch does not have."""
    uuid = "GPU-8a1b0d6c-aaaa-2b2c-524d-000000000001"
    (tmp_path / "bin").mkdir()
    smi = tmp_path / "bin" / "nvidia-smi"
    smi.write_text(
        f"#!/bin/sh\nif [ $1 = -L ]; then echo 'GPU 0: NVIDIA T4 (UUID: {uuid})'; else echo '{uuid}, 15360'; fi\n"
    )
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{smi.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv(devices.VISIBLE, raising=False)
    this = training(gpus=1)
    step, chosen = sizing.settle(this, Step(first(this.config)), [])
    assert chosen
    assert (chosen.tier, chosen.card) == ("high", Card(name="NVIDIA T4", memory_bytes=15360 << 20))
    assert chosen.reason.startswith("not measured, as the tier's table has it: ")
    assert "CUDA" in chosen.reason
    assert (step.settings.batch, step.settings.accumulation, chosen.effective_batch) == (16, 2, 32)
    # What was measured on this card is taken again; what the ladder changed meanwhile stays.
    measured = chosen.model_copy(update={"probed": found([1, 2]).probed})
    (this.work.folder / sizing.FILE).write_text(measured.model_dump_json())
    attempt = ended(this.config, step.settings, "cuda_memory")
    smaller = decide(this.config, [attempt])
    assert smaller
    again, known = sizing.settle(this, smaller, [attempt])
    assert (again.settings.batch, known) == (8, measured)


def ended(config: TrainConfig, settings: AttemptSettings, ending: Any) -> Attempt:
    return Attempt(number=1, ending=ending, reason="", exit_code=1, seconds=1.0, settings=settings)


def test_after_memory_ran_out_another_card_gets_no_larger_passes(training: Callable[..., Training]) -> None:
    config = training(gpus=1).config
    step = Step(first(config))
    smaller = decide(config, [ended(config, step.settings, "cuda_memory")])
    assert smaller
    assert passes.candidates(config, 24, smaller.settings.batch) == [1, 2, 4, 8, 16]


def test_the_document_of_a_training_reads_back(training: Callable[..., Training]) -> None:
    this = training()
    _, chosen = sizing.settle(this, Step(first(this.config)), [])
    assert chosen
    assert Sizing.model_validate(json.loads((this.work.folder / sizing.FILE).read_text())) == chosen
    assert chosen.sentence.startswith("tier cpu: 16 images a pass, 32 a step of the optimizer (the largest")


@pytest.mark.gpu
@pytest.mark.parametrize("tier", ["low", "medium", "high", "workstation", "server", "large"])
def test_every_tier_trains_on_a_card_of_its_size(training: Callable[..., Training], tier: Any) -> None:
    """Its model, untrained, at its image size, in a process that may hold no more than the tier's smallest card."""
    from sightline.config.sizing import GIB, TIERS

    size = TIERS[tier]
    limit = round(max(size.least, 4) * 0.95 * GIB)
    this = training(gpus=1, image_size=size.image_size, nominal_batch=size.nominal_batch)
    this = this._replace(model=size.model.replace(".pt", ".yaml"), images=10_000)
    card = devices.smallest(1)
    assert card
    if card[1] < limit:
        pytest.skip(f"the card has less memory than one of the tier {tier}")
    sizes = passes.candidates(this.config, this.images)
    got = probe.run(this, first(this.config), sizes, card=card[0].uuid, memory_limit=limit)
    assert isinstance(got, probe.Found), got
    chosen = sizing.choose(this.config, card[0].name, got, sizes, strict=False)
    print(tier, chosen.reason, [(one.images, one.memory_bytes, one.seconds) for one in got.probed])
    assert got.free_bytes <= limit
    assert all(one.memory_bytes is None or one.memory_bytes <= limit for one in got.probed)
    assert any(one.fits for one in got.probed)
    assert chosen.batch >= 2
