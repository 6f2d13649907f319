"""The options of `sightline run` that the pipeline's form has too, and the file of settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from sightline.cli.options import fraction, non_empty
from sightline.config.presets import PRESETS, balanced
from sightline.config.sizing import AUTO, TIER_NAMES, Tier, asked, tier_of
from sightline.errors import ConfigError
from sightline.runtime import devices

ConfigFile = Annotated[
    str | None,
    typer.Option(
        "--config",
        parser=non_empty,
        metavar="<file>",
        help="Settings in YAML, all or some; what is named beside it wins. `sightline config --yaml` writes one.",
    ),
]
Epochs = Annotated[int | None, typer.Option(metavar="<int>", help="Passes over the training split.")]
Batch = Annotated[int | None, typer.Option(metavar="<int>", help="Images of a step over all GPUs.")]
ImageSize = Annotated[
    int | None, typer.Option(metavar="<int>", help="Side of the square network input in pixels, a multiple of 32.")
]
Devices = Annotated[
    str | None,
    typer.Option(
        parser=non_empty,
        metavar="<2,3>",
        help="GPUs to train on, by their numbers in nvidia-smi or their UUIDs, within CUDA_VISIBLE_DEVICES.",
    ),
]
Seed = Annotated[int | None, typer.Option(metavar="<int>", help="Seed of weights, order and augmentation.")]
MinMap50 = Annotated[
    float | None,
    typer.Option("--min-map50", parser=fraction, metavar="<0 to 1>", help="Least test mAP50 that is registered."),
]
MinMap5095 = Annotated[
    float | None,
    typer.Option("--min-map50-95", parser=fraction, metavar="<0 to 1>", help="Least test mAP50-95 that is registered."),
]
ModelName = Annotated[str | None, typer.Option(parser=non_empty, metavar="<str>", help="Name in the model registry.")]
Alias = Annotated[
    str | None, typer.Option(parser=non_empty, metavar="<str>", help="Alias that a registered version receives.")
]


def _tier(text: str) -> str:
    if text not in (AUTO, *TIER_NAMES):
        raise typer.BadParameter(f"got '{text}', expected one of {AUTO}, {', '.join(TIER_NAMES)}.")
    return text


GpuTier = Annotated[
    str,
    typer.Option(
        parser=_tier,
        metavar="<tier>",
        help=f"Size of the cards that will train, which chooses model and sizes that you leave open: "
        f"{', '.join((AUTO, *TIER_NAMES))}. auto: by the GPUs that this command sees.",
    ),
]


def tier_for(named_tier: str, preset: str, named: Mapping[str, Any]) -> Tier | None:
    """Return the tier for `train.gpus` cards of this machine, or the one that is named.

    None where `train.sizing` is off and none is named, and where the memory of a card is not known.
    """
    if named_tier != AUTO:
        return next(name for name in TIER_NAMES if name == named_tier)
    if not asked(PRESETS.get(preset, balanced)(), named):
        return None
    gpus = named.get("train.gpus")
    count = gpus if type(gpus) is int else 0
    if not count or not devices.visible():
        return "cpu"
    found = devices.smallest(count)
    return tier_of(found[1]) if found else None


def choose_devices(chosen: str | None, named: Mapping[str, Any]) -> dict[str, int]:
    """Let the run see the GPUs of --devices alone; returns `train.gpus` for them, nothing without the option.

    Raises DeviceError for GPUs that are not there, and ConfigError where `named` has another number of GPUs.
    """
    if chosen is None:
        return {}
    count = devices.choose(chosen)
    if named.get("train.gpus", count) != count:
        raise ConfigError(f"--devices names {count} GPUs, and train.gpus is {named['train.gpus']}: leave one out.")
    return {"train.gpus": count}
