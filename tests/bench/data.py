"""Measures the data gate: `make bench ARGS="--only data"`.

Every measurement is a process of its own (`python -m tests.bench.data JOB …`), so that its memory is its own, and the
files it reads are in the page cache for all rivals alike: they were just written.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.bench import datasets

ROOT = Path(__file__).parents[2]
SIDE = (640, 480)
SMALL = (96, 64)
IMAGES = 20_000
GROWTH = (1_000, 10_000, 100_000)
OBJECTS = 2_000
LATENCY = 0.02  # seconds that the proxy adds to each answer, as a store in another building does


def main(folder: Path, images: int = IMAGES, growth: tuple[int, ...] = GROWTH) -> dict[str, Any]:
    """Run all data benchmarks below `folder`."""
    root = datasets.draw(folder / "set", images, SIDE)
    environment = {"SIGHTLINE_CACHE": str(folder / "cache"), "SIGHTLINE_STORE": f"file://{folder}/store"}
    size = sum(path.stat().st_size for path in root.rglob("*.jpg")) / images
    result: dict[str, Any] = {"images": images, "side": SIDE, "bytes_per_image": size}
    result["steps_microseconds"] = job("steps", root, environment)
    result["ultralytics"] = job("ultralytics", root, environment)
    result["headers"] = job("check", root, {**environment, "SIGHTLINE_CACHE": f"{folder}/cache-headers"}, "headers")
    result["everything"] = job("check", root, {**environment, "SIGHTLINE_CACHE": f"{folder}/cache-all"}, "everything")
    result["snapshot"] = job("snapshot", root, environment)
    time.sleep(3)  # what changes at the very moment it was read is read again next time
    result["unchanged"] = job("snapshot", root, environment)
    result["changed_files"] = datasets.change(root, images, SIDE)
    time.sleep(3)
    result["changed"] = job("snapshot", root, environment)
    result["growth"] = []
    for count in growth:
        grown = datasets.draw(folder / f"grown-{count}", count, SMALL)
        own = {**environment, "SIGHTLINE_CACHE": f"{folder}/cache-{count}"}
        result["growth"].append({"images": count, **job("check", grown, own, "everything")})
    result["s3"] = s3(folder)
    return result


def job(name: str, root: Path, environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.data", name, str(root), *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measured(work: Callable[[], int]) -> dict[str, Any]:
    """Time some work on a number of images; memory is the largest resident set of the process, and of a child."""
    start = time.monotonic()
    images = work()
    seconds = time.monotonic() - start
    own, child = (resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "seconds": seconds,
        "images_per_second": images / seconds,
        "peak_memory_bytes": own,
        "peak_worker_memory_bytes": child,
    }


# --- jobs, each in a process of its own


def ultralytics(root: Path) -> dict[str, Any]:
    """The engine's own scan of images and labels, as it happens before training, without its cache files."""
    from sightline import engine

    engine.prepare()
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.utils import LOGGER

    LOGGER.setLevel(logging.ERROR)
    for path in root.rglob("*.cache"):
        path.unlink()
    names = dict(enumerate(datasets.CLASSES))

    def work() -> int:
        sets = [
            YOLODataset(
                str(root / "images" / split), data={"names": names, "channels": 3}, task="detect", augment=False
            )
            for split, _ in datasets.SPLITS
        ]
        return sum(len(part.im_files) for part in sets)

    return measured(work)


def check(root: Path, depth: str) -> dict[str, Any]:
    """The data gate alone: every rule, statistics, page and list of problems."""
    from sightline.presets import resolve
    from sightline.validate import checked

    config = resolve("balanced", {"data.policy": {"thresholds": {"decode": depth == "everything"}}})

    def work() -> int:
        with checked.opened(str(root), config) as result:
            return result.report(root.parent / f"report-{depth}", 0).images

    return measured(work)


def snapshot(root: Path) -> dict[str, Any]:
    """The whole stage: the gate, and the snapshot in a store."""
    from sightline.presets import resolve
    from sightline.validate import run

    config = resolve("balanced", {"weights.source": "yolo11n.yaml"})
    sent = 0

    def work() -> int:
        nonlocal sent
        document = run(source=str(root), config=config, out=root.parent / "validate")
        sent = document.uploaded_bytes
        return sum(part.images for part in document.splits.values())

    result = measured(work)
    return {**result, "uploaded_bytes": sent}


def steps(root: Path) -> dict[str, Any]:
    """What one image costs one core, step by step, in microseconds: the best of three passes over 300 images."""
    import hashlib
    import io

    from PIL import Image

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

    def decode(data: bytes) -> None:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            image.draft("L", (32, 32))
            image.load()

    def full(data: bytes) -> None:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            image.load()

    return {
        "read": best(lambda path: path.read_bytes(), paths),
        "sha256": best(lambda data: hashlib.sha256(data).digest(), contents),
        "decode_eighth": best(decode, contents),
        "decode_full": best(full, contents),
    }


# --- S3


def s3(folder: Path) -> dict[str, Any]:
    """Validate a set of small objects from one bucket into another, through a proxy that counts and delays."""
    root = datasets.draw(folder / "objects", OBJECTS // 2, SMALL)
    with server() as port, proxy(port) as (address, seen):
        environment = {
            "SIGHTLINE_S3_ENDPOINT": address,
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench-secret",
            "AWS_REGION": "us-east-1",
        }
        job("fill", root, {**environment, "SIGHTLINE_S3_ENDPOINT": f"http://127.0.0.1:{port}"})
        result: dict[str, Any] = {"objects": OBJECTS + 1, "added_latency_seconds": LATENCY}
        for transfers in (1, 8, 16):
            seen.clear()
            own = {**environment, "SIGHTLINE_TRANSFERS": str(transfers), "SIGHTLINE_STORE": f"s3://target/{transfers}"}
            done = job("from-s3", root, {**own, "SIGHTLINE_CACHE": str(folder / f"cache-s3-{transfers}")})
            result[f"transfers_{transfers}"] = {**done, "most_requests_at_once": max(seen)}
    return result


def fill(root: Path) -> dict[str, Any]:
    """Put the set into a bucket."""
    from sightline.storage import Transfer, open_store
    from sightline.storage.s3 import connect

    client = connect(os.environ["SIGHTLINE_S3_ENDPOINT"])
    for bucket in ("source", "target"):
        client.make_bucket(bucket)
    files = [path for path in root.rglob("*") if path.is_file()]
    store = open_store("s3://source/set")
    (root / "data.yaml").write_text((root / "data.yaml").read_text().replace(f"path: {root}\n", ""))
    store.upload([Transfer(path.relative_to(root).as_posix(), path) for path in files])
    return {"files": len(files)}


def from_s3(root: Path) -> dict[str, Any]:
    """Run the stage from bucket to bucket."""
    from sightline.presets import resolve
    from sightline.validate import run

    config = resolve("balanced", {"weights.source": "yolo11n.yaml"})

    def work() -> int:
        document = run(source="s3://source/set", config=config, out=root.parent / "validate-s3")
        return sum(part.images for part in document.splits.values())

    return measured(work)


@contextlib.contextmanager
def server() -> Iterator[int]:
    """Run an S3 server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(sys.executable).with_name("moto_server")
    process = subprocess.Popen(
        [str(program), "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def proxy(port: int) -> Iterator[tuple[str, list[int]]]:
    """Pass connections on, answers late; the list grows by the number of requests under way each time one begins."""
    seen: list[int] = []
    under_way = 0
    lock = threading.Lock()
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)

    def serve(client: socket.socket) -> None:
        nonlocal under_way
        upstream = socket.create_connection(("127.0.0.1", port))
        busy = threading.Event()

        def back() -> None:
            nonlocal under_way
            with contextlib.suppress(OSError):
                while data := upstream.recv(1 << 16):
                    if busy.is_set():
                        time.sleep(LATENCY)
                        busy.clear()
                        with lock:
                            under_way -= 1
                    client.sendall(data)
                client.shutdown(socket.SHUT_WR)

        threading.Thread(target=back, daemon=True).start()
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                if not busy.is_set():
                    busy.set()
                    with lock:
                        under_way += 1
                        seen.append(under_way)
                upstream.sendall(data)
            upstream.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen
    finally:
        listener.close()


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
