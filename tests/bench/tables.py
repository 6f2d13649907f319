"""Shows what was measured: each function takes one part of the result, and gives tables and lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

CHECKED = {
    "ultralytics": ("Ultralytics", "headers and labels, no pixels"),
    "headers": ("headers", "headers, labels, digests of all bytes, leaks of equal files, page and CSV; no pixels"),
    "everything": ("everything", "pixels decoded, near copies, leaks, page and CSV"),
}
RUNS = {"first": "first run, with snapshot", "unchanged": "second run, unchanged", "changed": "second run, edited"}
STEPS = {"read": "read", "sha256": "sha256", "decode_eighth": "decode at an eighth", "decode_full": "decode in full"}


def quickstart(result: dict[str, Any]) -> Iterator[Table | str]:
    """Time by stage."""
    table = Table("quickstart", "seconds", box=None)
    for name, seconds in result["stages"].items():
        table.add_row(name, f"{seconds:.1f}")
    table.add_row("between stages", f"{result['overhead_seconds']:.1f}")
    table.add_row("whole", f"{result['wall_seconds']:.1f}")
    yield table
    peak = gigabytes(result["peak_memory_bytes"])
    yield f"test mAP50 {result['map50']:.3f}; peak memory of a process {peak}"


def bccd(result: list[dict[str, Any]]) -> Iterator[Table | str]:
    """Cost and scores of the pipeline and its rival, by seed."""
    for item in result:
        table = Table(
            f"BCCD, seed {item['seed']}", "seconds", "peak memory", "mAP50", "mAP50-95", "scored by", box=None
        )
        rows = [
            ("plain Ultralytics", item["plain"], item["plain"], "engine, checkpoint"),
            ("the pipeline", item["line"], item["line"], "pipeline, ONNX"),
            ("the pipeline's checkpoint", None, item["line_checkpoint_by_engine"], "engine, checkpoint"),
        ]
        for name, cost, score, by in rows:
            spent = (f"{cost['wall_seconds']:.0f}", gigabytes(cost["peak_memory_bytes"])) if cost else ("", "")
            table.add_row(name, *spent, f"{score['map50']:.3f}", f"{score['map50_95']:.3f}", by)
        yield table
        yield f"wall ratio {item['wall_ratio']:.2f}, memory ratio {item['memory_ratio']:.2f}"


def training(result: dict[str, Any]) -> Iterator[Table | str]:
    """Rates of training under supervision and with the engine alone, and the cost of checkpoints."""
    yield from _rates(result)
    yield _trained_on(result)
    table = Table("checkpoint", "take the state", "write it", "in all", "of an epoch", "size", box=None)
    table.add_column("engine: write")
    table.add_column("size")
    for run in result["checkpoints"]:
        seconds = run["seconds"]
        table.add_row(
            run["model"].removesuffix(".yaml"),
            *(f"{1e3 * seconds[name]:.0f} ms" for name in ("capture", "write", "whole")),
            *(f"{100 * run['share']:.1f} %", f"{run['bytes'] / 1e6:.1f} MB"),
            *(f"{1e3 * run['engine_seconds']:.0f} ms", f"{run['engine_bytes'] / 1e6:.1f} MB"),
        )
    yield table
    first = result["checkpoints"][0]
    yield (
        f"after each epoch, flushed to the disk; epochs of {first['images']} drawn images at {result['image_size']} px "
        "on the CPU; the engine writes two files, not flushed, without live weights and in half precision"
    )


def watching(result: dict[str, Any]) -> Iterator[Table | str]:
    """What is done for those who watch a training."""
    yield f"watchers: {100 * result['share_of_steps']:.2f} % of a step, {100 * result['share']:.2f} % of all"


def resume(result: dict[str, Any]) -> Iterator[Table | str]:
    """What differs after a kill and a resume, and the time from a fault to the next batch."""
    table = Table("killed and resumed", "tensors", "differing", "largest difference", "other values", box=None)
    table.add_column("differing")
    for name, run in result["equal"].items():
        row = [str(run[key]) for key in ("tensors", "differing")]
        label = "the engine's own resume" if name == "engine" else name
        table.add_row(label, *row, f"{run['largest']:.2g}", str(run["values"]), str(run["differing_values"]))
    yield table
    yield (
        f"yolo11n at {result['image_size']} px, {result['epochs']} epochs with mosaics, the supervisor killed with "
        "`kill -9` in the second; compared with a training that was not. Ours: the whole state; the engine's: weights"
    )
    table = Table("a process is killed", "s to the next attempt", "to its process", "to its first batch", box=None)
    for run in result["recovery"]:
        seconds = run["seconds"]
        label = f"the last of {run['processes']}" if run["processes"] > 1 else "the only one"
        table.add_row(label, *(f"{seconds[name]:.1f}" for name in ("attempt", "process", "batch")))
    yield table
    if result["faults"]:
        table = Table("faults of `make faults`", "attempts", "s to the next batch", box=None)
        for row in result["faults"]:
            table.add_row(row["case"], str(row["attempts"]), f"{row['seconds']:.1f}")
        yield table


def clock(result: dict[str, Any]) -> Iterator[Table | str]:
    """Steps with and without the clock, and its borders by themselves."""
    seconds = result["seconds"]
    table = Table("a step", "without the clock", "with it", "ratio", "a border", "all of a step", box=None)
    table.add_row(
        f"{result['batch']} images at {result['image_size']} px, {result['device']}",
        *(f"{1e3 * seconds[name]:.1f} ms" for name in ("without", "with")),
        *(f"{result['ratio']:.3f}", f"{1e6 * result['border_seconds']:.1f} us", f"{100 * result['share']:.3f} %"),
    )
    yield table
    yield f"yolo11n, lower quartiles of {result['steps']} steps of each in turn; a step has {result['borders']} borders"


def quality(result: dict[str, Any]) -> Iterator[Table | str]:
    """Test scores of exported files: our values and the engine's defaults, by seed."""
    seeds = [f"seed {seed}" for seed in result["seeds"]]
    for name, measured in result["sets"].items():
        table = Table(f"{name}: mAP50-95 on test", *seeds, "mean", "standard deviation", "mAP50, mean", box=None)
        for who, label in (("engine", "the engine's defaults"), ("ours", "ours")):
            scores = [f"{run['map50_95']:.3f}" for run in measured["runs"][who]]
            spread = measured["map50_95"][who]
            deviation = "-" if spread["deviation"] is None else f"{spread['deviation']:.3f}"
            table.add_row(label, *scores, f"{spread['mean']:.3f}", deviation, f"{measured['map50'][who]['mean']:.3f}")
        yield table
        yield (
            f"{measured['weights']}, {measured['images']} training images, {measured['image_size']} px, "
            f"{measured['epochs']} epochs"
        )


def gpu(result: dict[str, Any]) -> Iterator[Table | str]:
    """Rates on GPUs, and how a batch that is too large came down."""
    if reason := result.get("skipped"):
        yield f"skipped: {reason}"
        return
    yield from _rates(result)
    yield f"{_trained_on(result)}; {', '.join(result['gpus'])}; mixed precision"
    ladder = result["ladder"]
    table = Table("attempt", "images per pass", "ended", "seconds", box=None)
    for number, attempt in enumerate(ladder["attempts"], start=1):
        table.add_row(str(number), str(attempt["batch"]), attempt["ending"], f"{attempt['seconds']:.1f}")
    yield table
    fitting = ladder["fitting"]
    yield (
        f"batch {ladder['batch']} in {gigabytes(ladder['limit_bytes'])} of memory, in which {fitting['batch']} fit: "
        f"{ladder['seconds_per_epoch']:.2f} s an epoch ({fitting['seconds_per_epoch']:.2f} s with a batch that fits), "
        f"val mAP50-95 {ladder['map50_95']:.3f} ({fitting['map50_95']:.3f})"
    )


def _rates(result: dict[str, Any]) -> Iterator[Table | str]:
    table = Table("training", "images/s", "all runs", "ratio", "whole command", box=None)
    for name, run in result["rates"].items():
        rates = run["all_images_per_second"]
        label = "the engine alone" if name == "engine" else f"supervised, {name}"
        table.add_row(
            *(label, f"{run['images_per_second']:.2f}", f"{min(rates):.2f}-{max(rates):.2f}"),
            *(f"{run['ratio']:.3f}", f"{run['wall_seconds']:.0f} s"),
        )
    yield table


def _trained_on(result: dict[str, Any]) -> str:
    return (
        f"yolo11n on the {result['images']} training images of BCCD at {result['image_size']} px, "
        f"{result['epochs']} epochs"
    )


def detect(result: dict[str, Any]) -> Iterator[Table | str]:
    """Speed of the detector and of the engine's prediction."""
    table = Table("input", "engine, checkpoint", "engine, ONNX", "detector", "of it the network", "ratio", box=None)
    table.add_column("all rounds of the last two")
    table.add_column("found by each")
    for run in result["sizes"]:
        ours, engine, rounds = run["ours"], run["engine"], run["all_milliseconds"]
        spread = [f"{min(values):.1f}-{max(values):.1f}" for values in (rounds["engine"], rounds["ours"])]
        table.add_row(
            *(f"{run['image_size']} px", f"{run['engine_checkpoint']['milliseconds']:.1f} ms"),
            *(f"{engine['milliseconds']:.1f} ms", f"{ours['milliseconds']:.1f} ms"),
            f"{100 * ours['network_milliseconds'] / ours['milliseconds']:.0f} %",
            *(f"{run['ratio']:.2f}", " / ".join(spread)),
            " / ".join(str(run[who]["detections"]) for who in ("engine_checkpoint", "engine", "ours")),
        )
    yield table
    yield (
        f"{result['weights']}, {result['images']} JPEGs of BCCD from file to boxes, milliseconds an image, "
        f"{result['batch']} at a time, median of three rounds in turn; the ratio is to the engine on the same file"
    )


def data(result: dict[str, Any]) -> Iterator[Table | str]:
    """Everything about the data gate."""
    for part in (result, result["camera"]):
        yield _described(part)
        yield from _scan(part["scan"])
        yield from _steps(part["steps_microseconds"], part["decode_limit"])
    yield _described(result)
    yield from _stage(result["stage"])
    yield _described(result["stage_large"])
    yield from _stage(result["stage_large"])
    yield from _growth(result["growth"])
    yield from _damage(result["damage"])
    yield from _s3(result["s3"])


def leaks(result: dict[str, Any]) -> Iterator[Table | str]:
    """Leaked copies that are found, by the gate and by comparing all pairs."""
    table = Table("images", "leaked", "found", "false alarms", "scan s", "compare s", "memory", box=None)
    table.add_column("all pairs: found")
    table.add_column("false alarms")
    table.add_column("s")
    for run in result["sets"]:
        gate, rival = run["gate"], run["all_pairs"]
        table.add_row(
            *(f"{run['images']:,}", f"{run['leaked']:,}", f"{100 * gate['recall']:.1f} %", str(gate["false_alarms"])),
            *(f"{run['scan_seconds']:.1f}", f"{run['compare_seconds']:.1f}", gigabytes(run["peak_memory_bytes"])),
            *(f"{100 * rival['recall']:.1f} %", str(rival["false_alarms"]), f"{run['all_pairs_seconds']:.1f}"),
        )
    yield table
    yield f"JPEGs of {result['sets'][0]['scenes']} scenes in turn; copies of other quality, size and kind; random names"
    table = Table("thumbnails alone", "number", "copies found", "s across splits", "s with within", box=None)
    table.add_column("nearest of all: found")
    table.add_column("s")
    for run in result["thumbs"]:
        table.add_row(
            *(run["kind"], f"{run['thumbnails']:,}", f"{100 * run['recall']:.1f} %", f"{run['across_seconds']:.1f}"),
            *(f"{run['seconds']:.1f}", f"{100 * run['all_pairs_recall']:.1f} %", f"{run['all_pairs_seconds']:.1f}"),
        )
    yield table


def _described(part: dict[str, Any]) -> str:
    width, height = part["side"]
    kilobytes = part["bytes_per_image"] / 1e3
    return f"{part['images']:,} JPEGs of {width} x {height} pixels, {kilobytes:.0f} kB each, in the page cache"


def _scan(scan: dict[str, Any]) -> Iterator[Table | str]:
    table = Table("scan", "workers", "images/s", "all runs", "ratio", "memory: main", "a worker", box=None)
    cpu = Table("CPU, us an image", "main process", "workers", box=None)
    base = scan["ultralytics"]
    for rival, (name, _) in CHECKED.items():
        run = scan[rival]
        images = run["images_per_second"] * run["seconds"]
        rates = sorted(images / seconds for seconds in run["all_seconds"])
        table.add_row(
            *(name, str(run["workers"]), f"{run['images_per_second']:,.0f}", f"{rates[0]:,.0f}-{rates[-1]:,.0f}"),
            *(f"{run['images_per_second'] / base['images_per_second']:.2f}", *_memory(run)),
        )
        cpu.add_row(name, *(f"{run['cpu_microseconds'][who]:.0f}" for who in ("main", "workers")))
    yield table
    yield cpu
    for name, checked in CHECKED.values():
        yield f"{name}: {checked}"
    yield f"median of {len(base['all_seconds'])} runs in turn; Ultralytics works in threads, the gate in processes"


def _stage(stage: dict[str, Any]) -> Iterator[Table | str]:
    table = Table("whole stage", "seconds", "ratio", "uploaded", box=None)
    for key, name in RUNS.items():
        run = stage[key]
        ratio = run["seconds"] / stage["first"]["seconds"]
        table.add_row(name, f"{run['seconds']:.2f}", f"{ratio:.3f}", f"{run['uploaded_bytes'] / 1e6:,.2f} MB")
    yield table
    edited = stage["changed"]
    yield f"edited, 1 % of the files: {edited['changed_images']} images and {edited['changed_labels']} label files"


def _growth(growth: list[dict[str, Any]]) -> Iterator[Table | str]:
    table = Table("images, small", "seconds", "us/image", "memory: main", "a worker", box=None)
    for run in growth:
        each = 1e6 * run["seconds"] / run["images"]
        table.add_row(f"{run['images']:,}", f"{run['seconds']:.2f}", f"{each:.0f}", *_memory(run))
    yield table


def _steps(steps: dict[str, float], limit: dict[str, Any]) -> Iterator[Table | str]:
    table = Table("one image on one core", "us", box=None)
    for key, name in STEPS.items():
        table.add_row(name, f"{steps[key]:.0f}")
    yield table
    yield (
        f"decode limit on {limit['cores']} cores (read, sha256, decode at an eighth): "
        f"{limit['images_per_second']:,.0f} images/s; 'everything' reaches {100 * limit['reached']:.0f} % of it"
    )


def _damage(damage: dict[str, Any]) -> Iterator[Table | str]:
    table = Table("damage in a JPEG", "files", "seen", box=None)
    for kind, count in damage.items():
        table.add_row(kind, str(count["files"]), f"{100 * count['seen'] / count['files']:.1f} %")
    yield table


def _s3(s3: dict[str, Any]) -> Iterator[Table | str]:
    table = Table("S3 to S3: transfers allowed", "most in flight", "requests", "seconds", "ratio", box=None)
    for run in s3["runs"]:
        ratio = run["seconds"] / s3["runs"][0]["seconds"]
        counts = str(run["transfers"]), str(run["most_requests_at_once"]), f"{run['requests']:,}"
        table.add_row(*counts, f"{run['seconds']:.1f}", f"{ratio:.2f}")
    yield table
    late = 1e3 * s3["added_latency_seconds"]
    yield f"{s3['objects']:,} objects, each answer {late:.0f} ms late, the server on the same cores"


def _memory(run: dict[str, Any]) -> tuple[str, str]:
    worker = run["peak_worker_memory_bytes"]
    return f"{run['peak_memory_bytes'] / 1e6:.0f} MB", f"{worker / 1e6:.0f} MB" if worker else "-"


def gigabytes(size: int) -> str:
    """Say a peak of memory."""
    return f"{size / 1e9:.2f} GB"
