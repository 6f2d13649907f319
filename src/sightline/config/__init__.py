"""The configuration of a run: its schema, its presets, and how values are given by dotted keys."""

from __future__ import annotations

from sightline.config.run_config import (
    FORMATS,
    Cache,
    DataConfig,
    ExportConfig,
    Format,
    GateConfig,
    RegisterConfig,
    RetrainConfig,
    RunConfig,
    SampleConfig,
    TrainConfig,
    WeightsConfig,
    single_image_batch,
)

__all__ = [
    "FORMATS",
    "Cache",
    "DataConfig",
    "ExportConfig",
    "Format",
    "GateConfig",
    "RegisterConfig",
    "RetrainConfig",
    "RunConfig",
    "SampleConfig",
    "TrainConfig",
    "WeightsConfig",
    "single_image_batch",
]
