"""Sizes by the card: the table of tiers, what it fills, and what a person's values keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sightline.config import sizing
from sightline.config.parameters import PipelineParameters
from sightline.config.presets import PRESETS, resolve
from sightline.config.sizing import GIB, TIERS, Tier
from sightline.errors import ConfigError
from sightline.weights.official import ARCHITECTURES, PINS
from sightline.weights.shipped import SHIPPED


@pytest.mark.parametrize(
    ("gb", "tier"),
    [
        (2, "low"),
        (5.3, "low"),
        (5.8, "medium"),  # a card of 6 GB
        (7.9, "medium"),
        (9.5, "medium"),  # a slice of 10 GB
        (11.9, "high"),  # a card of 12 GB
        (15.8, "high"),
        (19.5, "high"),
        (23.7, "workstation"),  # a card of 24 GB
        (39.4, "workstation"),
        (44.3, "server"),  # a card of 48 GB
        (71.9, "server"),
        (79.3, "large"),  # a card of 80 GB
        (140.4, "large"),
    ],
)
def test_a_card_belongs_to_the_tier_that_is_printed_on_it(gb: float, tier: Tier) -> None:
    assert sizing.tier_of(round(gb * GIB)) == tier


def test_without_a_card_the_tier_is_cpu() -> None:
    assert sizing.tier_of(None) == "cpu"


def test_every_tier_takes_an_official_model_whose_digest_is_known_and_sizes_that_go_together() -> None:
    assert tuple(TIERS) == sizing.TIER_NAMES
    parameters = []
    for size in TIERS.values():
        assert size.model in PINS
        parameters.append(SHIPPED[ARCHITECTURES[size.model.removesuffix(".pt")]].parameters)
        assert size.image_size in sizing.SIDES
        assert size.batch in sizing.divisors(size.nominal_batch, size.nominal_batch)
    assert parameters == sorted(parameters)
    assert [size.least for size in TIERS.values()] == sorted(size.least for size in TIERS.values())


def test_the_table_in_the_readme_is_that_of_the_code() -> None:
    text = (Path(sizing.__file__).parents[1] / "train" / "README.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "yolo11" in line]
    assert [(row[0].strip("`"), *row[2:]) for row in rows] == [
        (name, size.model, str(size.image_size), str(size.nominal_batch), str(size.batch), str(size.workers))
        for name, size in TIERS.items()
    ]


def test_presets_are_sized_by_the_card_or_not_at_all() -> None:
    assert {name for name, preset in PRESETS.items() if preset().train.sizing == "auto"} == {"balanced", "accurate"}
    assert resolve("fast", {}).weights.source == "yolo11n.pt"
    assert resolve("balanced", {}, "medium").weights.source == "yolo11m.pt"


@pytest.mark.parametrize("tier", sizing.TIER_NAMES)
@pytest.mark.parametrize("preset", ["balanced", "accurate"])
def test_a_tier_fills_what_nobody_gave(preset: str, tier: Tier) -> None:
    size, config = TIERS[tier], resolve(preset, {"train.gpus": 1}, tier)
    train = config.train
    assert config.weights.source == size.model
    assert (train.image_size, train.nominal_batch, train.workers) == (size.image_size, size.nominal_batch, size.workers)
    assert train.batch == size.nominal_batch  # so that any divisor of it can pass at a time
    assert train.given == ()


@pytest.mark.parametrize(
    "values",
    [
        {"weights.source": "yolov8n.pt"},
        {"train.image_size": 320},
        {"train.batch": 6},
        {"train.nominal_batch": 24},
        {"train.workers": 1},
        {"train.batch": 8, "train.nominal_batch": 64, "train.workers": 0, "train.image_size": 1280},
    ],
)
def test_what_a_person_gives_wins_and_is_noted(values: dict[str, Any]) -> None:
    config = resolve("balanced", values, "server")
    for key, value in values.items():
        part = config.weights if key.startswith("weights.") else config.train
        assert getattr(part, key.partition(".")[2]) == value
    assert set(config.train.given) == {sizing.SIZED[key] for key in values}
    if "train.batch" not in values:
        assert config.train.batch == config.train.nominal_batch


def test_a_digest_that_a_person_gives_belongs_to_the_presets_own_model() -> None:
    assert resolve("balanced", {"weights.sha256": "5f" * 32}, "large").weights.source == "yolo11n.pt"


def test_without_a_tier_the_presets_model_and_sizes_stay() -> None:
    config = resolve("accurate", {})
    assert (config.weights.source, config.train.image_size, config.train.nominal_batch) == ("yolov8s.pt", 640, 16)
    assert "No GPU of a known memory was seen and no tier named" in sizing.in_words(config, None)


def test_with_sizing_off_nothing_changes_and_a_tier_is_refused() -> None:
    train = resolve("balanced", {"train.sizing": "off", "train.nominal_batch": 64}).train
    assert (train.batch, train.nominal_batch) == (16, 64)
    for preset, values in (("fast", {}), ("balanced", {"train.sizing": False, "train.epochs": 0})):
        with pytest.raises(ConfigError) as caught:
            resolve(preset, values, "high")
        assert "gpu_tier: got high, but train.sizing is off" in str(caught.value)
        assert ("train.epochs" in str(caught.value)) == bool(values)


def test_a_tier_that_is_none_is_refused_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match="gpu_tier: got 'hgh', expected one of auto, cpu, low, medium, high, work"):
        PipelineParameters.given({"gpu_tier": "hgh"})
    given = PipelineParameters.given({"data": "/a", "gpu_tier": "high", "train_gpus": 2, "train_batch": 32})
    assert given.tier == "high"
    assert given.config().weights.source == "yolo11l.pt"
    assert (given.config().train.batch, given.config().train.given) == (32, ("batch",))
    assert PipelineParameters().tier is None


def test_a_batch_that_the_processes_cannot_share_is_named_by_the_setting_it_comes_from() -> None:
    with pytest.raises(ConfigError, match="nominal_batch 64 cannot be shared evenly by 3 processes"):
        resolve("balanced", {"train.gpus": 3}, "high")
    assert resolve("balanced", {"train.gpus": 3, "train.nominal_batch": 48}, "high").train.batch == 48


def test_nobody_sets_what_is_noted() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'train\.given'"):
        resolve("balanced", {"train.given": ["batch"]})


@pytest.mark.parametrize(
    ("side", "median", "larger"),
    [
        (640, 8 / 640, None),
        (640, 7.9 / 640, 960),
        (320, 7.9 / 320, 640),
        (800, 7.9 / 800, 960),
        (960, 7.9 / 960, 1280),
        (1280, 1 / 1280, None),
        (640, 7.999 / 640, None),  # 8 px, rounded in a label file
        (640, 7.98 / 640, 960),
        (640, None, None),
    ],
)
def test_small_boxes_ask_for_the_next_size(side: int, median: float | None, larger: int | None) -> None:
    assert sizing.larger_side(side, median) == larger


def test_the_next_size_is_a_multiple_of_the_networks_stride() -> None:
    assert sizing.larger_side(640, 4 / 640, 64) == 960
    assert sizing.larger_side(640, 4 / 640, 128) == 1280
    assert sizing.larger_side(1024, 4 / 1024, 512) is None
