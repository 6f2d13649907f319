"""Measures the pipeline and its data gate against plain Ultralytics, side by side in one run: `make bench`.

    make bench                                  everything, BCCD with seed 0 (about an hour on two cores)
    make bench ARGS="--seeds 0 1 2"             more seeds, for the noise
    make bench ARGS="--only quickstart"         the whole pipeline on drawn images (3 minutes)
    make bench ARGS="--only bccd"               the whole pipeline on BCCD, and the rival (11 minutes a seed)
    make bench ARGS="--only training"           training under supervision, and the engine alone (20 minutes)
    make bench ARGS="--only resume"             killed trainings: equal at their end, seconds lost (6 minutes)
    make bench ARGS="--only clock"              what it costs to measure where time goes, in steps (a minute)
    make bench ARGS="--only watching"           what the line, the curves and the sheets of a training cost (2 minutes)
    make bench ARGS="--only quality"            long: our values and the engine's defaults, over three seeds (an hour)
    make bench ARGS="--only gpu"                training on GPUs; skipped where there is none
    make bench ARGS="--only detect"             the detector and the engine's own prediction (2 minutes)
    make bench ARGS="--only data"               the data gate, on sets that it draws (11 minutes, 3 GB of disk)
    make bench ARGS="--only leaks"              leaked copies found, against all pairs (4 minutes)
    make bench ARGS="--only data --images 600 --growth 100 400 --objects 200"       the same in small, to try it

Prints tables and stores the numbers as JSON; with `--only` the other parts of that file stay as they are. Stored with
`--to tests/bench/results.json`, `python -m tests.bench.readme` renders them into README.md.

The rival of the pipeline does what a notebook does: train, score the best checkpoint on the test split, export to ONNX.
Its data is the same snapshot, made beforehand and not counted.

The rival of training is the engine's own trainer in a process, on the same snapshot with the same settings, in turn.
Its rate counts from the end of the first epoch; `resume` has the engine's own `resume` for a rival.

The rival of the detector is the engine's prediction with the checkpoint that its file was exported from.

The rival of the data gate is the engine's own scan of images and labels before a training, on small pictures and on a
camera's. Measured are also the whole stage, its second run on unchanged and on edited data, its growth, the cost of its
steps, how much damage inside JPEGs is seen, and S3 to S3 against a local server with a delay. Imports are not counted,
and every file is in the page cache.

The rival of the search for leaked copies is a comparison of all pairs, on the same drawn sets.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from sightline.config.presets import resolve
from sightline.runtime import provenance
from sightline.train.decisions import first
from sightline.train.job import engine_options
from tests.bench import clock, data, detect, gpu, leaks, quality, resume, tables, training, watching
from tests.bench.timing import timed

RESULTS = Path("runs") / "bench.json"
PARTS = (
    *("quickstart", "bccd", "training", "resume", "clock", "watching", "quality", "gpu", "detect", "data", "leaks"),
)
LONG = {"quality"}  # asked for by name alone
READ = {"bccd", "training", "quality", "gpu", "detect"}  # these read BCCD


def main() -> None:
    """Run the benchmarks that were asked for, print them, and store them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--images", type=int, default=data.IMAGES, help="of the set of `data`")
    parser.add_argument("--growth", type=int, nargs="+", default=data.GROWTH, help="sizes of its growing sets")
    parser.add_argument("--objects", type=int, default=data.OBJECTS, help="in its bucket")
    parser.add_argument("--scenes", type=int, nargs="+", default=leaks.IMAGES, help="sizes of the sets of `leaks`")
    parser.add_argument("--thumbs", type=int, nargs="+", default=leaks.THUMBS, help="thumbnails that it searches")
    parser.add_argument("--sets", nargs="+", default=quality.SETS, choices=quality.SETS, help="of `quality`")
    parser.add_argument("--rounds", type=int, default=training.ROUNDS, help="of `training`, each with all variants")
    parser.add_argument("--epochs", type=int, default=training.EPOCHS, help="of its trainings")
    parser.add_argument("--size", type=int, default=training.SIZE, help="of its images, in pixels")
    parser.add_argument("--to", type=Path, default=RESULTS)
    options = parser.parse_args()
    parts = [options.only] if options.only else [part for part in PARTS if part not in LONG]
    shared = Path(os.environ.get("SIGHTLINE_TEST_DATA", "")).resolve()
    if READ & set(parts) and not os.environ.get("SIGHTLINE_TEST_DATA"):
        others = ", ".join(part for part in PARTS if part not in READ)
        sys.exit(f"SIGHTLINE_TEST_DATA is not set: BCCD is read from there. Or pass --only with one of {others}.")
    result = stored(options.to)
    for part in parts:
        result["made"][part] = {
            "machine": provenance.hardware().model_dump(),
            "packages": provenance.packages(),
            "git_commit": provenance.git_commit(),
        }
        with tempfile.TemporaryDirectory(prefix="sightline-bench-") as name:
            result[part] = measure(part, Path(name), shared, options)
        options.to.parent.mkdir(parents=True, exist_ok=True)
        options.to.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        show(part, result)
    print(f"stored in {options.to}")


def measure(part: str, folder: Path, shared: Path, options: argparse.Namespace) -> Any:
    """Measure one part, with its files in `folder`."""
    measured: dict[str, Callable[[], Any]] = {
        "quickstart": lambda: quickstart(folder),
        "bccd": lambda: [bccd(folder, shared, seed) for seed in options.seeds],
        "training": lambda: training.main(folder, shared, options.rounds, options.epochs, options.size),
        "resume": lambda: resume.main(folder),
        "clock": lambda: clock.main(folder),
        "watching": lambda: watching.main(folder),
        "quality": lambda: quality.main(folder, shared, sets=options.sets),
        "gpu": lambda: gpu.main(folder, shared),
        "detect": lambda: detect.main(folder, shared),
        "data": lambda: data.main(folder, options.images, options.growth, options.objects),
        "leaks": lambda: leaks.main(folder, options.scenes, options.thumbs),
    }
    return measured[part]()


def stored(path: Path) -> dict[str, Any]:
    """Return what earlier runs stored: the parts, and under `made` by which machine, packages and commit each was.

    A file that says so once is of the time when all parts were measured in one run.
    """
    result = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    common = {key: result.pop(key) for key in ("machine", "packages", "git_commit") if key in result}
    return {"made": dict.fromkeys(result, common), **result}


def line(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run the whole pipeline; returns its scores, its time by stage, and what all else cost."""
    output, wall, peak = timed([sys.executable, "-m", "sightline", "run", "--json", "--no-cache", *arguments], folder)
    summary = json.loads(output)
    stages = {stage["name"]: stage["seconds"] for stage in summary["stages"]}
    return {
        "wall_seconds": wall,
        "stages": stages,
        "overhead_seconds": wall - sum(stages.values()),
        "peak_memory_bytes": peak,
        "map50": summary["evaluate"]["map50"],
        "map50_95": summary["evaluate"]["map50_95"],
    }


def quickstart(folder: Path) -> dict[str, Any]:
    """Measure the quickstart."""
    return line(folder, "--runs", "runs", "--run-id", "quickstart")


def bccd(folder: Path, shared: Path, seed: int) -> dict[str, Any]:
    """Measure the pipeline and plain Ultralytics on BCCD, one after the other."""
    ours = line(
        folder,
        *("--data", str(shared / "data" / "bccd"), "--weights", str(shared / "weights" / "yolo11n.pt")),
        *("--preset", "fast", "--set", f"train.seed={seed}", "--runs", "runs", "--run-id", f"bccd-{seed}"),
    )
    run = folder / "runs" / f"bccd-{seed}"
    snapshot = json.loads((run / "validate" / "validate.json").read_text())["digest"]
    config = resolve("fast", {"train.seed": seed}).train
    data_yaml = folder / "cache" / "snapshots" / snapshot / "data.yaml"
    options = engine_options(config, first(config), data_yaml, "unused", folder / f"plain-{seed}")
    del options["model"]
    job = folder / "job.json"
    job.write_text(json.dumps({"model": str(shared / "weights" / "yolo11n.pt"), "train": options}))
    for cache in (folder / "cache").rglob("*.cache"):  # the engine's own index of the labels: neither starts with it
        cache.unlink()
    engine = [sys.executable, "-m", "tests.helpers.ultralytics"]
    output, wall, peak = timed([*engine, "plain", str(job)], folder)
    rival = {**json.loads(output.splitlines()[-1]), "wall_seconds": wall, "peak_memory_bytes": peak}
    scored = timed([*engine, "score", str(run / "train" / "best.pt"), str(data_yaml), "320"], folder)
    return {
        "seed": seed,
        "line": ours,
        "plain": rival,
        "line_checkpoint_by_engine": json.loads(scored[0].splitlines()[-1]),
        "wall_ratio": ours["wall_seconds"] / rival["wall_seconds"],
        "memory_ratio": ours["peak_memory_bytes"] / rival["peak_memory_bytes"],
    }


def show(part: str, result: dict[str, Any]) -> None:
    """Print one part of what was measured."""
    console = Console()
    made = result["made"][part]
    machine, packages = made["machine"], made["packages"]
    console.print(
        f"{machine['machine']}, {machine['cpu_count']} cores, {machine['memory_bytes'] / 1e9:.0f} GB", end="; "
    )
    console.print(
        ", ".join(f"{name} {packages[name]}" for name in ("torch", "ultralytics-opencv-headless", "kfp", "mlflow"))
    )
    for piece in getattr(tables, part)(result[part]):
        console.print(piece)


if __name__ == "__main__":
    main()
