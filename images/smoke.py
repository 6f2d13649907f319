"""Runs every stage's command in its image as a restricted cluster would, on a few drawn images.

An unknown user in group 0, a read-only root file system, no capabilities, no new privileges, and no network but for
report and register, which talk to an MLflow server of this machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from images.engine import Engine, EngineError
from sightline.datasets import synthetic

USER = "12345:0"  # whom no image knows, as OpenShift gives them
RESTRICTED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
NO_NETWORK = ("--network", "none")
SERVER_SECONDS = 90
KEPT = {"train": 24, "val": 8, "test": 8}  # images
SETTINGS = ("train.epochs=2", "train.image_size=96", "train.workers=0", "gate.min_map50=0", "sample.count=2")
STAGES = {  # stage -> image, arguments
    "validate": ("data", ["--data", "/work/set", "--preset", "quickstart", *(f"--set={s}" for s in SETTINGS)]),
    "train": ("train", []),
    "export": ("train", []),
    "evaluate": ("infer", []),
    "sample": ("infer", []),
    "report": ("data", []),
    "register": ("data", []),
}


def run(engine: Engine, images: Mapping[str, str]) -> None:
    """Run all stages in these images (ids by name). Raises EngineError with the output of one that fails."""
    folder = Path(tempfile.mkdtemp(prefix="sightline-smoke-"))
    try:
        _draw(folder / "set")
        (folder / "runs").mkdir()
        for path in (folder, folder / "runs"):
            path.chmod(0o777)  # the user of the containers is unknown here, and another one still in a rootless engine
        with mlflow_server(folder) as address:
            for stage, (name, arguments) in STAGES.items():
                _stage(engine, images[name], folder, stage, arguments, address)
    finally:
        command = ["sh", "-c", "rm -rf /work/runs/*"]  # what the container's user wrote, this one may not remove
        engine.call("run", "--rm", "--user", USER, "--volume", f"{folder}:/work", images["data"], *command)
        shutil.rmtree(folder)


def _stage(engine: Engine, image: str, folder: Path, stage: str, arguments: list[str], address: str) -> None:
    network = ["--network", "host", "--env", f"MLFLOW_TRACKING_URI={address}"]
    options = [*RESTRICTED, *(network if stage in ("report", "register") else NO_NETWORK), "--user", USER]
    options += ["--shm-size", "256m", "--volume", f"{folder}:/work", "--env", "SIGHTLINE_STORE=/work/runs/store"]
    command = ["sightline", stage, *arguments, "--run", "/work/runs/smoke"]
    start = time.monotonic()
    done = engine.call("run", "--rm", *options, image, *command)
    print(f"  {stage:9} {time.monotonic() - start:5.1f} s", flush=True)
    if done.returncode:
        raise EngineError(
            f"`{' '.join(command)}` ended with exit code {done.returncode} in its image, and no image was named:\n"
            f"{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )


def _draw(folder: Path) -> None:
    """Draw the quickstart's set and keep its first images."""
    synthetic.draw(folder)
    for split, count in KEPT.items():
        for path in sorted((folder / "images" / split).iterdir())[count:]:
            path.unlink()
            (folder / "labels" / split / f"{path.stem}.txt").unlink()


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Serve MLflow on this machine's loopback for the length of the block, and yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts"]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "mlflow.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        yield _answering(f"http://127.0.0.1:{port}", server, folder / "mlflow.log")
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # its workers too
        server.wait()


def _answering(address: str, server: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + SERVER_SECONDS
    while server.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):
            return address
        time.sleep(0.3)
    raise EngineError(f"No MLflow server for the smoke run:\n{log.read_text()[-2000:]}")
