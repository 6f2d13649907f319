"""Measures the data gate: `make bench ARGS="--only data"`.

Every measurement is a process of its own (`python -m tests.bench.data JOB …`), so that its memory is its own. It first
does the same work on a few images, so that all imports are over when its clock starts. Files come from the page cache
for all alike: they were just written.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.bench import damage, datasets
from tests.bench.objects import LATENCY, proxy
from tests.helpers.s3_server import s3_serving

ROOT = Path(__file__).parents[2]
SIDE = (640, 480)
LARGE = (2592, 1944)  # 5 megapixels, as a plain camera makes them
CAMERA = (1280, 720)  # as a fixed camera makes them
CAMERA_QUALITY = 86  # gives 133 kB an image
SMALL = (96, 64)
IMAGES = 20_000
CAMERA_SHARE = 0.25  # of its images for each of the others: 5,000
LARGE_SHARE = 0.15  # large images for each of the others: 3,000
GROWTH = (1_000, 10_000, 100_000)
OBJECTS = 2_000
ROUNDS = 3
WARM = "warm"  # the few images, beside each set
TRANSFERS = (1, 8, 16)


def main(folder: Path, images: int, growth: Sequence[int], objects: int) -> dict[str, Any]:
    """Run all data benchmarks below `folder`."""
    datasets.draw(folder / WARM, 40, SIDE)
    root = datasets.draw(folder / "set", images, SIDE)
    result: dict[str, Any] = {**compared(root, images, SIDE), "stage": stage(root, images, SIDE)}
    shutil.rmtree(root)
    some = round(images * CAMERA_SHARE)
    root = datasets.draw(folder / "camera", some, CAMERA, CAMERA_QUALITY)
    result["camera"] = compared(root, some, CAMERA)
    shutil.rmtree(root)
    result["damage"] = damage.seen()
    few = round(images * LARGE_SHARE)
    root = datasets.draw(folder / "large", few, LARGE)
    result["stage_large"] = {**described(root, few, LARGE), **stage(root, few, LARGE)}
    shutil.rmtree(root)
    result["growth"] = []
    for count in growth:
        grown = datasets.draw(folder / f"grown-{count}", count, SMALL)
        result["growth"].append({"images": count, **job("check", grown, f"grown-{count}-places", "everything")})
        shutil.rmtree(grown)
    result["s3"] = s3(folder, objects)
    return result


def compared(root: Path, images: int, side: tuple[int, int]) -> dict[str, Any]:
    """Compare the gate with its rival on a set, and with what its cores can do at most."""
    steps = job("steps", root, "steps")
    scan = scans(root)
    cores = scan["everything"]["workers"]
    limit = 1e6 * cores / (steps["read"] + steps["sha256"] + steps["decode_eighth"])
    reached = scan["everything"]["images_per_second"] / limit
    return {
        **described(root, images, side),
        "scan": scan,
        "steps_microseconds": steps,
        "decode_limit": {"cores": cores, "images_per_second": limit, "reached": reached},
    }


def described(root: Path, images: int, side: tuple[int, int]) -> dict[str, Any]:
    """Say what a set is: how many images of what size in pixels and bytes."""
    size = sum(path.stat().st_size for path in root.rglob("*.jpg")) / images
    return {"images": images, "side": side, "bytes_per_image": size}


def scans(root: Path) -> dict[str, Any]:
    """Run each rival a few times in turn; returns the run of median time of each, with the seconds of all its runs."""
    rivals = {"ultralytics": ("ultralytics",), "headers": ("check", "headers"), "everything": ("check", "everything")}
    runs: dict[str, list[dict[str, Any]]] = {rival: [] for rival in rivals}
    for _ in range(ROUNDS):
        for rival, (name, *arguments) in rivals.items():
            runs[rival].append(job(name, root, "scan", *arguments))
            shutil.rmtree(root.parent / "scan", ignore_errors=True)  # nothing is remembered
    return {
        rival: {
            **sorted(done, key=lambda run: run["seconds"])[ROUNDS // 2],
            "all_seconds": [run["seconds"] for run in done],
        }
        for rival, done in runs.items()
    }


def stage(root: Path, images: int, side: tuple[int, int]) -> dict[str, Any]:
    """Run the stage on a new set, on the same again, and on one that was edited."""
    place = f"{root.name}-stage"
    result: dict[str, Any] = {"first": job("snapshot", root, place)}
    time.sleep(3)  # what changes at the very moment it was read is read again next time
    result["unchanged"] = job("snapshot", root, place)
    edited = datasets.change(root, images, side)
    time.sleep(3)
    result["changed"] = {**job("snapshot", root, place), **edited}
    shutil.rmtree(root.parent / place)
    return result


def job(name: str, root: Path, place: str, *arguments: str, **environment: str) -> dict[str, Any]:
    """Run one measurement in a process of its own, its cache and store in the folder `place` beside the set."""
    own = {"SIGHTLINE_CACHE": f"{root.parent}/{place}/cache", "SIGHTLINE_STORE": f"file://{root.parent}/{place}/store"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.data", name, str(root), *arguments],
        cwd=ROOT,
        env={**os.environ, **own, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measured(work: Callable[[Path], int], root: Path, workers: int) -> dict[str, Any]:
    """Time some work on the images of a set, after the same on a few.

    Memory is the largest resident set of this process, libraries and all, and of one that it started; what the two
    share counts in both.
    """
    work(root.parent / WARM)
    start, spent = time.monotonic(), _cpu()
    images = work(root)
    seconds = time.monotonic() - start
    main, others = ((after - before) / images for before, after in zip(spent, _cpu(), strict=True))
    # ru_maxrss of this very process would be that of its parent if that is larger: exec hands it on.
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {
        "seconds": seconds,
        "images_per_second": images / seconds,
        "workers": workers,
        "cpu_microseconds": {"main": 1e6 * main, "workers": 1e6 * others},
        "peak_memory_bytes": int(own.split()[1]) * 1024,
        "peak_worker_memory_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 or None,
    }


def _cpu() -> tuple[float, float]:
    """Return the seconds of CPU that this process, and those that it started and that ended, have spent."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    own, others = (usage.ru_utime + usage.ru_stime for usage in both)
    return own, others


# --- jobs, each in a process of its own


def ultralytics(root: Path) -> dict[str, Any]:
    """The engine's own scan of images and labels, as it happens before training, without its cache files."""
    from sightline import ultralytics_env

    ultralytics_env.prepare()
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.utils import NUM_THREADS

    data = {"names": dict(enumerate(datasets.CLASSES)), "channels": 3}

    def work(folder: Path) -> int:
        splits = [str(folder / "images" / split) for split, _ in datasets.SPLITS]
        return sum(len(YOLODataset(split, data=data, task="detect", augment=False).im_files) for split in splits)

    def forget() -> None:
        for folder in (root.parent / WARM, root):
            for path in (folder / "labels").glob("*.cache"):
                path.unlink()

    forget()
    result = measured(work, root, NUM_THREADS)
    forget()
    return {**result, "peak_worker_memory_bytes": None}  # its workers are threads


def check(root: Path, depth: str) -> dict[str, Any]:
    """The data gate alone: every rule, statistics, page and list of problems."""
    from sightline.config.presets import resolve
    from sightline.runtime import machine
    from sightline.validate import validated_source

    config = resolve("balanced", {"data.policy": {"thresholds": {"decode": depth == "everything"}}})

    def work(folder: Path) -> int:
        with validated_source.opened(str(folder), config) as result:
            document = result.report(root.parent / "report", 0)
        assert document.verdict == "accepted", document.findings
        return document.images

    return measured(work, root, machine.cores())


def snapshot(root: Path) -> dict[str, Any]:
    """The whole stage: the gate, and the snapshot in a store."""
    return _stage(root, lambda folder: str(folder))


def _stage(root: Path, source: Callable[[Path], str]) -> dict[str, Any]:
    from sightline.config.presets import resolve
    from sightline.runtime import machine
    from sightline.storage import default_store
    from sightline.validate import run

    config = resolve("balanced", {"weights.source": "yolo11n.yaml"})
    sent = 0

    def work(folder: Path) -> int:
        nonlocal sent
        store = default_store() if folder == root else str(root.parent / f"{WARM}-store")
        document = run(source=source(folder), config=config, out=root.parent / "validate", store=store)
        sent = document.uploaded_bytes
        return sum(part.images for part in document.splits.values())

    return {**measured(work, root, machine.cores()), "uploaded_bytes": sent}


def steps(root: Path) -> dict[str, Any]:
    """What one image costs one core, step by step, in microseconds: the best of three passes over 300 images."""
    import hashlib

    from sightline.image_files import jpeg
    from sightline.image_files.thumbnails import FINER, THUMB

    paths = sorted((root / "images" / "train").iterdir())[:300]
    contents = [path.read_bytes() for path in paths]

    def best(work: Callable[[Any], object], over: list[Any]) -> float:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            for item in over:
                work(item)
            times.append((time.perf_counter() - start) / len(over))
        return 1e6 * min(times)

    def read(path: str) -> bytes:
        with open(path, "rb", buffering=0) as file:
            return file.read()

    return {
        "read": best(read, [str(path) for path in paths]),
        "sha256": best(lambda data: hashlib.sha256(data).hexdigest(), contents),
        "decode_eighth": best(lambda data: jpeg.decoded(data, FINER * THUMB), contents),
        "decode_full": best(lambda data: jpeg.decoded(data, max(SIDE)), contents),
    }


# --- S3


def s3(folder: Path, objects: int) -> dict[str, Any]:
    """Validate a set of small objects from one bucket into another, through a proxy that counts and delays."""
    root = datasets.draw(folder / "objects", objects // 2, SMALL)
    result: dict[str, Any] = {"objects": objects + 1, "added_latency_seconds": LATENCY, "runs": []}
    (folder / "store").mkdir()
    with s3_serving(folder / "store") as store, proxy(store.ports["s3"]) as (address, seen):
        job("fill", root, "fill", **store.variables())
        for transfers in TRANSFERS:
            seen.clear()
            own = {"SIGHTLINE_TRANSFERS": str(transfers), "SIGHTLINE_STORE": f"s3://target/{transfers}"}
            through = {**store.variables(), "SIGHTLINE_S3_ENDPOINT": address}
            done = job("from-s3", root, f"s3-{transfers}", **through, **own)
            counts = {"transfers": transfers, "requests": len(seen), "most_requests_at_once": max(seen)}
            result["runs"].append({**counts, **done})
    return result


def fill(root: Path) -> dict[str, Any]:
    """Make the buckets, and put the set into one."""
    from sightline.storage import Transfer, open_store
    from sightline.storage.s3 import connect

    client = connect(os.environ["SIGHTLINE_S3_ENDPOINT"])
    for bucket in ("source", "target"):
        client.make_bucket(bucket)
    description = root / "data.yaml"
    description.write_text(description.read_text().replace(f"path: {root}\n", ""))
    files = [path for path in root.rglob("*") if path.is_file()]
    open_store("s3://source/set").upload([Transfer(path.relative_to(root).as_posix(), path) for path in files])
    return {"files": len(files)}


def from_s3(root: Path) -> dict[str, Any]:
    """Run the stage from bucket to bucket."""
    importlib.import_module("sightline.storage.s3")  # what the few images, which lie here, do not need

    return _stage(root, lambda folder: "s3://source/set" if folder == root else str(folder))


if __name__ == "__main__":
    jobs: dict[str, Callable[..., dict[str, Any]]] = {
        "ultralytics": ultralytics,
        "check": check,
        "snapshot": snapshot,
        "steps": steps,
        "fill": fill,
        "from-s3": from_s3,
    }
    print(json.dumps(jobs[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])))
