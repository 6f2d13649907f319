"""`sightline run`: the whole pipeline on this machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.cli import output
from sightline.cli.form_options import (
    Alias,
    Batch,
    ConfigFile,
    Devices,
    Epochs,
    GpuTier,
    ImageSize,
    MinMap50,
    MinMap5095,
    ModelName,
    Seed,
    choose_devices,
    tier_for,
)
from sightline.cli.options import (
    Assign,
    Data,
    Download,
    Format,
    Images,
    Json,
    Pictures,
    PolicyName,
    Runs,
    TrustWeights,
    Weights,
    WeightsSha256,
    err,
    finish_dead,
    non_empty,
    out,
    values,
)
from sightline.config import settings_file
from sightline.config.parameters import PipelineParameters, placeholder_free_json, refuse_several_nodes
from sightline.config.presets import PRESETS, preset_for, resolve
from sightline.config.run_config import RETRAIN
from sightline.config.sizing import AUTO, Tier
from sightline.errors import ConfigError
from sightline.runtime.terminal import print_json
from sightline.storage.files import file_uri

SUBPROCESS, DOCKER = "subprocess", "docker"


def _runner(name: str) -> str:
    if name not in (SUBPROCESS, DOCKER):
        raise typer.BadParameter(f"got '{name}', expected {SUBPROCESS} or {DOCKER}.")
    return name


PresetForData = Annotated[
    str | None,
    typer.Option(
        parser=non_empty,
        metavar="<str>",
        help="Recipe: quickstart, fast, balanced (default for real data), accurate or finetune.",
    ),
]
Gpus = Annotated[
    int | None,
    typer.Option(help="GPUs to train on; 0 for the CPU. Default: all there are, or 0 with train.cpu_processes."),
]
RunId = Annotated[
    str | None, typer.Option(help="Name of this run; one that failed is started again. Default: time and preset.")
]
Runner = Annotated[
    str,
    typer.Option(
        parser=_runner,
        metavar="<subprocess|docker>",
        help="Where tasks run: in processes here, or in containers of the images that `make images` built.",
    ),
]
Retrain = Annotated[
    str | None,
    typer.Option(
        parser=non_empty,
        metavar=f"<{'|'.join(RETRAIN)}>",
        help="When to train: always, or only if data, settings or code changed since the newest run of this model, or "
        "only if the data drifted from that of the version at the alias.",
    ),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Train again, even if the same training was done before.")]


def run(
    data: Data = "quickstart",
    preset: PresetForData = None,
    weights: Weights = None,
    format: Format = None,
    images: Images = None,
    policy: PolicyName = None,
    pictures: Pictures = None,
    weights_sha256: WeightsSha256 = None,
    trust_weights: TrustWeights = False,
    download: Download = False,
    config: ConfigFile = None,
    epochs: Epochs = None,
    batch: Batch = None,
    image_size: ImageSize = None,
    seed: Seed = None,
    gpus: Gpus = None,
    devices: Devices = None,
    gpu_tier: GpuTier = AUTO,
    min_map50: MinMap50 = None,
    min_map50_95: MinMap5095 = None,
    model_name: ModelName = None,
    alias: Alias = None,
    assign: Assign = [],  # noqa: B006
    runs: Runs = Path("runs"),
    run_id: RunId = None,
    retrain: Retrain = None,
    no_cache: NoCache = False,
    runner: Runner = SUBPROCESS,
    as_json: Json = False,
) -> None:
    """Run the whole pipeline on this machine: validate, train, export, evaluate, sample, report, register.

    sightline run                                              (the quickstart, on data it draws)

    sightline run --data ./bccd --weights yolo11n.pt --preset fast --epochs 20

    sightline run --data ./bccd --config my.yaml --set train.lr0=0.002

    sightline run --data s3://bucket/cells --format coco --set gate.min_map50=0.85

    sightline run --data ./bccd --runner docker
    """
    from sightline import orchestrate

    file = settings_file.read(config) if config else None
    preset = settings_file.joined(preset, file, preset_for(data))
    named = values(
        assign,
        format=format,
        images=images,
        weights=weights,
        sha256=weights_sha256,
        trust=trust_weights,
        download=download,
        policy=policy,
        pictures=pictures,
        retrain=retrain,
        file=file,
        more={
            **{"train.epochs": epochs, "train.batch": batch, "train.image_size": image_size, "train.seed": seed},
            **{"train.gpus": gpus, "gate.min_map50": min_map50, "gate.min_map50_95": min_map50_95},
            **{"register.model_name": model_name, "register.alias": alias},
        },
    )
    _check_retrain(no_cache, named)
    named |= choose_devices(devices, named)
    if "train.gpus" not in named:
        named["train.gpus"] = _gpus(named)
    tier = tier_for(gpu_tier, preset, named)
    _check_machine(preset, named, tier, runs)
    made = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{preset if preset in PRESETS else 'run'}"
    name = made if run_id is None else run_id
    finish_dead(runs)
    summary = orchestrate.run(
        _parameters(data, preset, named, tier),
        runs=runs,
        run_id=name,
        cache=not no_cache,
        docker=runner == DOCKER,
        quiet=as_json and not err.is_terminal,
    )
    if as_json:
        print_json(summary.model_dump_json(indent=2, by_alias=True))
    else:
        output.print_summary(summary, runs / name, out, named=run_id is not None)
    raise typer.Exit(output.exit_code(summary))


def _check_retrain(no_cache: bool, named: Mapping[str, Any]) -> None:
    """Refuse to train in any case and only if it pays. Raises ConfigError."""
    when = named.get("retrain.when", "always")
    if no_cache and when != "always":
        raise ConfigError(f"--no-cache trains in any case, retrain.when={when} only if it pays: leave one out.")


def _parameters(data: str, preset: str, named: Mapping[str, Any], tier: Tier | None) -> PipelineParameters:
    """Return the pipeline's parameters; every configuration key but the GPUs goes through `overrides`.

    Raises ConfigError for a number of GPUs that is none, with all other mistakes of the configuration.
    """
    gpus = named["train.gpus"]
    if type(gpus) is not int or gpus < 0:
        gpus = resolve(preset, named, tier).train.gpus
    overrides = {key: value for key, value in named.items() if key != "train.gpus"}
    return PipelineParameters(
        data=_location(data),
        preset=preset,
        gpu_tier=tier or AUTO,
        train_gpus=str(gpus),
        overrides=placeholder_free_json(overrides),
    )


def _location(data: str) -> str:
    """Return where the data is, independent of the working directory; an unusual path becomes an escaped URI."""
    if data == "quickstart" or "://" in data:
        return data
    path = Path(os.path.expanduser(data)).resolve()  # noqa: PTH111 - Path's raises for a user that does not exist
    uri = file_uri(path)
    return str(path) if uri == f"file://{path}" else uri


def _gpus(named: Mapping[str, Any]) -> int:
    """Return the largest power of two among the GPUs here: every preset's batch can be shared by that many."""
    from sightline.runtime import provenance

    on_cpu = named.get("train.cpu_processes", 1) != 1
    count = 0 if on_cpu else len(provenance.visible_gpus())
    return 1 << (count.bit_length() - 1) if count else 0


def _check_machine(preset: str, named: Mapping[str, Any], tier: Tier | None, runs: Path) -> None:
    """Refuse a training that this machine cannot do.

    Raises ConfigError for several nodes, DeviceError, or StorageError for a full disk.
    """
    from sightline.storage.work_root import work_root
    from sightline.train import preflight, sizing
    from sightline.weights import model_size

    wanted = None
    with contextlib.suppress(ConfigError):  # validate names all mistakes of a configuration at once
        wanted = resolve(preset, named, tier)
    if wanted:
        refuse_several_nodes(wanted.train.nodes)
        size = model_size(wanted.weights.source)
        planned = sizing.planned(wanted.train, sizing.loaders(wanted.train, size))
        preflight.check(planned, size, runs, work_root(runs))
