"""Measures the line against plain Ultralytics, side by side in one run: `make bench`.

    make bench                                  quickstart, and BCCD with seed 0 (about 20 minutes on two cores)
    make bench ARGS="--seeds 0 1 2"             more seeds, for the noise
    make bench ARGS="--only quickstart"

Prints a table and stores the numbers as JSON. The rival does what a notebook does: train, score the best checkpoint on
the test split, export to ONNX. Its data is the same snapshot, made beforehand and not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from sightline import provenance
from sightline.presets import resolve
from sightline.train import engine_options

ROOT = Path(__file__).parents[2]
RESULTS = Path("runs") / "bench.json"


def main() -> None:
    """Run the benchmarks that were asked for, print them, and store them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", choices=["quickstart", "bccd"])
    parser.add_argument("--to", type=Path, default=RESULTS)
    options = parser.parse_args()
    result: dict[str, Any] = {
        "machine": provenance.hardware().model_dump(),
        "packages": provenance.packages(),
        "git_commit": provenance.git_commit(),
    }
    with tempfile.TemporaryDirectory(prefix="sightline-bench-") as folder:
        if options.only != "bccd":
            result["quickstart"] = quickstart(Path(folder))
        if options.only != "quickstart":
            shared = os.environ.get("SIGHTLINE_TEST_DATA")
            if not shared:
                sys.exit("SIGHTLINE_TEST_DATA is not set: BCCD is read from there. Or pass --only quickstart.")
            result["bccd"] = [bccd(Path(folder), Path(shared).resolve(), seed) for seed in options.seeds]
    options.to.parent.mkdir(parents=True, exist_ok=True)
    options.to.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    show(result)
    print(f"stored in {options.to}")


def timed(command: list[str], folder: Path) -> tuple[str, float, int]:
    """Run a command; returns its output, its wall time in seconds, and the largest memory of any of its processes."""
    environment = {**os.environ, "SIGHTLINE_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    watcher = (  # a process of its own, so that the peak is of this command's children and of no earlier one's
        "import json, resource, subprocess, sys, time\n"
        "start = time.monotonic()\n"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True)\n"
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024\n"
        "print(json.dumps([done.stdout, time.monotonic() - start, peak, done.returncode]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", watcher, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    output, seconds, peak, code = json.loads(done.stdout.splitlines()[-1])
    assert code == 0, output
    return output, seconds, peak


def line(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run the whole line; returns its scores, its time by stage, and what all else cost."""
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
    """Measure the line and plain Ultralytics on BCCD, one after the other."""
    ours = line(
        folder,
        *("--data", str(shared / "data" / "bccd"), "--weights", str(shared / "weights" / "yolo11n.pt")),
        *("--preset", "fast", "--set", f"train.seed={seed}", "--runs", "runs", "--run-id", f"bccd-{seed}"),
    )
    run = folder / "runs" / f"bccd-{seed}"
    snapshot = json.loads((run / "validate" / "validate.json").read_text())["digest"]
    config = resolve("fast", {"train.seed": seed}).train
    data_yaml = folder / "cache" / "snapshots" / snapshot / "data.yaml"
    options = engine_options(config, data_yaml, "unused", folder / f"plain-{seed}")
    del options["model"]
    job = folder / "job.json"
    job.write_text(json.dumps({"model": str(shared / "weights" / "yolo11n.pt"), "train": options}))
    for cache in (folder / "cache").rglob("*.cache"):  # the engine's own index of the labels: neither starts with it
        cache.unlink()
    output, wall, peak = timed([sys.executable, "-m", "tests.engine", "plain", str(job)], folder)
    rival = {**json.loads(output.splitlines()[-1]), "wall_seconds": wall, "peak_memory_bytes": peak}
    scored = timed(
        [sys.executable, "-m", "tests.engine", "score", str(run / "train" / "best.pt"), str(data_yaml), "320"], folder
    )
    return {
        "seed": seed,
        "line": ours,
        "plain": rival,
        "line_checkpoint_by_engine": json.loads(scored[0].splitlines()[-1]),
        "wall_ratio": ours["wall_seconds"] / rival["wall_seconds"],
        "memory_ratio": ours["peak_memory_bytes"] / rival["peak_memory_bytes"],
    }


def show(result: dict[str, Any]) -> None:
    """Print what was measured."""
    console = Console()
    machine = result["machine"]
    console.print(
        f"{machine['machine']}, {machine['cpu_count']} cores, {machine['memory_bytes'] / 1e9:.0f} GB", end="; "
    )
    packages = result["packages"]
    console.print(
        ", ".join(f"{name} {packages[name]}" for name in ("torch", "ultralytics-opencv-headless", "kfp", "mlflow"))
    )
    if "quickstart" in result:
        table = Table("quickstart", "seconds", box=None)
        for name, seconds in result["quickstart"]["stages"].items():
            table.add_row(name, f"{seconds:.1f}")
        table.add_row("between stages", f"{result['quickstart']['overhead_seconds']:.1f}")
        table.add_row("whole", f"{result['quickstart']['wall_seconds']:.1f}")
        console.print(table, f"test mAP50 {result['quickstart']['map50']:.3f}", memory(result["quickstart"]))
    for item in result.get("bccd", []):
        table = Table(
            f"BCCD, seed {item['seed']}", "seconds", "peak memory", "mAP50", "mAP50-95", "scored by", box=None
        )
        rows = [
            ("plain Ultralytics", item["plain"], item["plain"], "engine, checkpoint"),
            ("the line", item["line"], item["line"], "line, ONNX"),
            ("", None, item["line_checkpoint_by_engine"], "engine, checkpoint"),
        ]
        for name, cost, score, by in rows:
            seconds, peak = (f"{cost['wall_seconds']:.0f}", memory(cost)) if cost else ("", "")
            table.add_row(name, seconds, peak, f"{score['map50']:.3f}", f"{score['map50_95']:.3f}", by)
        console.print(table, f"wall ratio {item['wall_ratio']:.2f}, memory ratio {item['memory_ratio']:.2f}")


def memory(cost: dict[str, Any]) -> str:
    """Say a peak in gigabytes."""
    return f"{cost['peak_memory_bytes'] / 1e9:.2f} GB"


if __name__ == "__main__":
    main()
