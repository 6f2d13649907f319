"""The configuration of a run: its schema, its presets, and how values are given by dotted keys."""

from __future__ import annotations

from sightline.config.run_config import (
    FORMATS,
    DataConfig,
    ExportConfig,
    Format,
    GateConfig,
    RegisterConfig,
    RetrainConfig,
    RunConfig,
    SampleConfig,
    WeightsConfig,
)
from sightline.config.scales import sides, single_image_batch
from sightline.config.sizing import Tier
from sightline.config.train_config import Amp, Cache, TrainConfig

__all__ = [
    "FORMATS",
    "Amp",
    "Cache",
    "DataConfig",
    "ExportConfig",
    "Format",
    "GateConfig",
    "RegisterConfig",
    "RetrainConfig",
    "RunConfig",
    "SampleConfig",
    "Tier",
    "TrainConfig",
    "WeightsConfig",
    "sides",
    "single_image_batch",
]
