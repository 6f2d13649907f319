"""The table of decisions: what follows from each end of an attempt."""

from __future__ import annotations

from typing import Any

import pytest

from sightline.config import TrainConfig
from sightline.documents import ENDINGS, Attempt, AttemptSettings, Ending
from sightline.train.decisions import FRUITLESS, STOP, decide, first

GPUS: dict[str, Any] = {"gpus": 2, "batch": 16, "nominal_batch": 64, "workers": 4}


def ended(ending: Ending, settings: AttemptSettings, *, epochs: int = 0, begun: int = 0) -> Attempt:
    return Attempt(
        number=1, ending=ending, reason="", exit_code=1, seconds=1, settings=settings, resumed_from=begun, epochs=epochs
    )


def walk(config: TrainConfig, ending: Ending) -> list[AttemptSettings]:
    """Return the settings of all attempts that end alike, each with a new epoch, until the table says stop."""
    found = [first(config).model_copy(update={"workers": config.workers})]
    while len(found) < 20:
        step = decide(config, [ended(ending, found[-1], epochs=1)])
        if step is None or step.settings == found[-1]:
            break
        assert step.changed
        found.append(step.settings)
    return found


def test_every_end_has_a_row_in_the_documented_table() -> None:
    from sightline.train import decisions

    table = decisions.__doc__ or ""
    assert [ending for ending in ENDINGS if ending not in table] == []


@pytest.mark.parametrize("ending", STOP)
def test_a_fault_of_user_data_or_code_is_never_retried(ending: Ending) -> None:
    config = TrainConfig(recover="all")
    assert decide(config, [ended(ending, first(config))]) is None


@pytest.mark.parametrize("ending", [ending for ending in ENDINGS if ending != "finished"])
def test_nothing_is_retried_where_recovery_is_off(ending: Ending) -> None:
    config = TrainConfig(recover="off")
    assert decide(config, [ended(ending, first(config))]) is None


def test_gpu_memory_halves_the_pass_down_to_one_image_each_and_keeps_the_optimizers_batch() -> None:
    walked = walk(TrainConfig(**GPUS), "cuda_memory")
    assert [(s.batch, s.accumulation) for s in walked] == [(16, 4), (8, 8), (4, 16), (2, 32)]
    assert {(s.workers, s.image_size) for s in walked} == {(4, 640)}


def test_host_memory_takes_loaders_then_the_cache_and_on_gpus_nothing_of_the_model() -> None:
    walked = walk(TrainConfig(**GPUS, cache="ram"), "host_memory")
    assert [(s.workers, s.cache) for s in walked] == [(4, "ram"), (2, "ram"), (1, "ram"), (0, "ram"), (0, "off")]
    assert {s.batch for s in walked} == {16}


def test_host_memory_of_a_training_on_cpus_also_halves_the_pass() -> None:
    walked = walk(TrainConfig(batch=4, workers=1), "host_memory")
    assert [(s.workers, s.batch) for s in walked] == [(1, 4), (0, 4), (0, 2), (0, 1)]


def test_shared_memory_takes_loaders_alone() -> None:
    assert [s.workers for s in walk(TrainConfig(**GPUS, cache="ram", recover="all"), "shared_memory")] == [4, 2, 1, 0]


def test_only_all_makes_the_image_smaller_and_no_smaller_than_half() -> None:
    walked = walk(TrainConfig(**{**GPUS, "batch": 2}, recover="all"), "cuda_memory")
    assert [s.image_size for s in walked] == [640, 448, 320]
    assert [s.image_size for s in walk(TrainConfig(**{**GPUS, "batch": 2}), "cuda_memory")] == [640]


def test_a_loss_that_is_not_finite_lowers_the_rate_three_times() -> None:
    rates = [s.lr0 for s in walk(TrainConfig(lr0=0.008), "not_finite")]
    assert rates == [0.008, 0.004, 0.002, 0.001]


def test_infrastructure_is_tried_again_with_longer_pauses_until_nothing_is_won() -> None:
    config = TrainConfig()
    settings = first(config)
    fruitless = [ended("killed", settings, begun=2, epochs=2)]
    pauses = []
    while (step := decide(config, fruitless)) is not None:
        assert step.settings == settings
        pauses.append(step.pause)
        fruitless.append(fruitless[0])
    assert len(fruitless) == FRUITLESS
    assert pauses == sorted(pauses)
    assert len(set(pauses)) > 1
    won = [*fruitless[:-1], ended("killed", settings, begun=2, epochs=3)]
    step = decide(config, won)
    assert step is not None
    assert step.pause == pauses[0] or step.pause < pauses[-1]
