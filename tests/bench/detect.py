"""Measures the runtime that ships against the engine's own prediction: `make bench ARGS="--only detect"`.

All read the same JPEGs and give boxes, from the same weights: ours from the ONNX file, as the export stage writes it;
the engine from the same file, which is the rival: what differs is the code around the network; and the engine from the
checkpoint, as a notebook does: on a CPU it then leaves one core unused. Each measurement is a process of its own, so
that no thread pool disturbs the other; it first detects in a few images, so that imports and first allocations are over
when its clock starts.

python -m tests.bench.detect ours MODEL IMAGE…                     a measurement, as JSON
python -m tests.bench.detect engine FILE IMAGE_SIZE IMAGE…
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SIZES = (320, 640)
ROUNDS = 3
WARM = 8  # images, as many as run at a time
CONFIDENCE = 0.25


def main(folder: Path, shared: Path) -> dict[str, Any]:
    """Run both in turn at each size, on BCCD's test images; returns milliseconds an image, median and of all rounds."""
    source = shared / "data" / "bccd" / "BCCD"
    names = (source / "ImageSets" / "Main" / "test.txt").read_text().split()
    images = [str(source / "JPEGImages" / f"{name}.jpg") for name in names]
    weights = str(shared / "weights" / "yolo11n.pt")
    result: dict[str, Any] = {"images": len(images), "weights": "yolo11n", "batch": WARM, "sizes": []}
    for size in SIZES:
        model = str(folder / f"{size}.onnx")
        _run("tests.helpers.onnx_writer", weights, "False", model, str(size), str(CONFIDENCE))
        rounds: dict[str, list[dict[str, float]]] = {"ours": [], "engine": [], "engine_checkpoint": []}
        for _ in range(ROUNDS):
            for who, file in (("engine_checkpoint", weights), ("engine", model)):
                rounds[who].append(json.loads(_run("tests.bench.detect", "engine", file, str(size), *images)))
            rounds["ours"].append(json.loads(_run("tests.bench.detect", "ours", model, *images)))
        middle = {who: sorted(done, key=lambda run: run["milliseconds"])[ROUNDS // 2] for who, done in rounds.items()}
        result["sizes"].append(
            {
                "image_size": size,
                **middle,
                "ratio": middle["ours"]["milliseconds"] / middle["engine"]["milliseconds"],
                "all_milliseconds": {who: [run["milliseconds"] for run in done] for who, done in rounds.items()},
            }
        )
    return result


def _run(module: str, *arguments: str) -> str:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()[-1] if done.stdout else ""


def ours(model: str, images: list[str]) -> dict[str, float]:
    """Time the detector, and the network in it."""
    from sightline.detect import Detector

    detector = Detector(model, device="cpu")
    run, network = detector.session.run, 0.0

    def timed(*arguments: Any) -> Any:
        nonlocal network
        start = time.perf_counter()
        output = run(*arguments)
        network += time.perf_counter() - start
        return output

    class Session:
        run = staticmethod(timed)

    detector.session = Session()
    seconds, found = _time(lambda some: sum(map(len, detector(some))), images, lambda: network)
    return {**seconds, "detections": found}


def engine(weights: str, image_size: int, images: list[str]) -> dict[str, float]:
    """Time the engine's prediction with the settings of the detector: square input, one class a box."""
    from sightline import ultralytics_env as prepared

    prepared.prepare()
    from ultralytics import YOLO

    model = YOLO(weights, task="detect")

    def work(some: list[str]) -> int:
        results = model.predict(
            some, imgsz=image_size, conf=CONFIDENCE, iou=0.7, max_det=300, rect=False, device="cpu", batch=WARM,
            stream=True, verbose=False,
        )  # fmt: skip
        return sum(len(result) for result in results)

    seconds, found = _time(work, images, lambda: 0.0)
    return {"milliseconds": seconds["milliseconds"], "detections": found}


def _time(
    work: Callable[[list[str]], int], images: list[str], network: Callable[[], float]
) -> tuple[dict[str, float], int]:
    """Detect in a few images, then in all; returns milliseconds an image, whole and of the network, and the boxes."""
    work(images[:WARM])
    start, before = time.perf_counter(), network()
    found = work(images)
    each = 1000 / len(images)
    return {
        "milliseconds": each * (time.perf_counter() - start),
        "network_milliseconds": each * (network() - before),
    }, found


if __name__ == "__main__":
    job, path, *rest = sys.argv[1:]
    print(json.dumps(ours(path, rest) if job == "ours" else engine(path, int(rest[0]), rest[1:])))
