"""Runs every stage's command in its image as a restricted cluster would, on a few drawn images.

An unknown user in group 0, a read-only root file system, no capabilities, no new privileges, and no network but for
report and register, which talk to an MLflow server of this machine.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from images.engine import Engine, EngineError
from sightline.datasets import synthetic
from sightline.orchestrate import tracking_server
from sightline.orchestrate.tracking_server import TrackingServer
from sightline.tracking.address import SERVER

USER = "12345:0"  # whom no image knows, as OpenShift gives them
RESTRICTED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
NO_NETWORK = ("--network", "none")
KEPT = {"train": 24, "val": 8, "test": 8}  # images
SETTINGS = ("train.epochs=2", "train.image_size=96", "train.workers=0", "gate.min_map50=0", "sample.count=2")
STAGES = {  # stage -> image, arguments
    "validate": ("data", ["--preset", "quickstart", *(f"--set={s}" for s in SETTINGS)]),
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
        with tracking_server.serving(folder / "runs", folder) as server:
            for stage, (name, arguments) in STAGES.items():
                _stage(engine, images[name], folder, stage, arguments, server)
    finally:
        command = ["sh", "-c", f"rm -rf {folder}/runs/*"]  # what the container's user wrote, this one may not remove
        engine.call("run", "--rm", "--user", USER, "--volume", f"{folder}:{folder}", images["data"], *command)
        shutil.rmtree(folder)


def _stage(
    engine: Engine, image: str, folder: Path, stage: str, arguments: list[str], server: TrackingServer | None
) -> None:
    options = [*RESTRICTED, "--user", USER, "--shm-size", "256m", "--volume", f"{folder}:{folder}"]
    options += ["--env", f"{SERVER}={server.url}"] if server else []
    if server and stage in ("report", "register"):
        server.wait()
        options += ["--network", "host"]
    else:
        options += NO_NETWORK
    if stage == "validate":
        arguments = ["--data", f"{folder}/set", *arguments]
    command = ["sightline", stage, *arguments, "--run", f"{folder}/runs/smoke"]
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
