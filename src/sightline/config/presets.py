"""Presets: each is a function that returns a whole configuration, so a recipe can be read in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sightline.config import sizing
from sightline.config.assignments import apply
from sightline.config.augmentation import Augmentation
from sightline.config.run_config import GateConfig, RegisterConfig, RunConfig, WeightsConfig
from sightline.config.train_config import TrainConfig
from sightline.errors import ConfigError, did_you_mean


def quickstart() -> RunConfig:
    """A small detector from scratch on drawn blood smears, on two CPU cores in two minutes."""
    return RunConfig(
        preset="quickstart",
        weights=WeightsConfig(source="yolo11n.yaml"),
        train=TrainConfig(
            epochs=20,
            image_size=160,
            batch=8,
            nominal_batch=8,
            lr0=0.004,
            warmup_epochs=1.0,
            workers=0,
            augment=Augmentation(mosaic=0.0, close_mosaic=0),
        ),
        gate=GateConfig(min_map50=0.8),
        register_=RegisterConfig(model_name="quickstart-smear"),
    )


def fast() -> RunConfig:
    """A first answer: a nano model at 320 pixels for a dozen epochs, sensible on a CPU."""
    return RunConfig(
        preset="fast",
        weights=WeightsConfig(source="yolo11n.pt"),
        train=TrainConfig(
            epochs=12,
            image_size=320,
            nominal_batch=16,
            warmup_epochs=1.0,
            augment=Augmentation(close_mosaic=3),
        ),
    )


def balanced() -> RunConfig:
    """The default for real data, of the card's size: a medium model on 6 to 12 GB, a nano model on CPUs, at 640 pixels.

    Stopped when val no longer improves.
    """
    return RunConfig(
        preset="balanced",
        weights=WeightsConfig(source="yolo11n.pt"),
        train=TrainConfig(sizing="auto", epochs=100, patience=25, nominal_batch=16, workers=4),
    )


def accurate() -> RunConfig:
    """Score before time: as balanced, but longer, with cosine decay and mixup; where no card is known a small model."""
    return RunConfig(
        preset="accurate",
        weights=WeightsConfig(source="yolov8s.pt"),
        train=TrainConfig(
            sizing="auto",
            epochs=300,
            patience=50,
            nominal_batch=16,
            workers=8,
            cosine=True,
            augment=Augmentation(mixup=0.1, close_mosaic=20),
        ),
    )


def finetune() -> RunConfig:
    """A medium model (20 M parameters) from its weights, on a GPU: fifty epochs, images in memory, early to stop."""
    return RunConfig(
        preset="finetune",
        weights=WeightsConfig(source="yolo11m.pt"),
        train=TrainConfig(
            epochs=50,
            image_size=640,
            batch=16,
            nominal_batch=16,
            optimizer="AdamW",
            lr0=0.001,
            patience=10,
            workers=8,
            cache="ram",
            augment=Augmentation(degrees=10.0, mixup=0.1, close_mosaic=10),
        ),
    )


RECIPES = (quickstart, fast, balanced, accurate, finetune)
PRESETS: dict[str, Callable[[], RunConfig]] = {recipe.__name__: recipe for recipe in RECIPES}


def preset_for(data: str) -> str:
    """Return the preset of a data URI for which none was chosen."""
    return "quickstart" if data == "quickstart" else "balanced"


def resolve(preset: str, values: Mapping[str, Any], tier: sizing.Tier | None = None) -> RunConfig:
    """Return the preset's configuration with dotted keys replaced; a `tier` chooses sizes that these leave open.

    Raises ConfigError for an unknown preset, unknown keys, bad values and a tier that chooses nothing, all at once.
    """
    base = PRESETS.get(preset, balanced)()
    problems = sizing.unused(base, values, tier)
    if preset not in PRESETS:
        problems.insert(
            0, f"preset: got '{preset}', expected one of {', '.join(PRESETS)}{did_you_mean(preset, PRESETS)}"
        )
    try:
        config = apply(sizing.by_tier(base, values, tier), values)
    except ConfigError as error:
        raise ConfigError(error.message, [*problems, *error.problems]) from None
    if problems:
        raise ConfigError("The configuration is wrong (`sightline config` lists every key):", problems)
    return config
