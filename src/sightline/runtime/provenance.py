"""The provenance of a result: code, packages and machine."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from sightline.documents import Hardware
from sightline.documents.base import GIT_COMMIT, IMAGE
from sightline.runtime import devices, machine

PACKAGE = Path(__file__).resolve().parents[1]
LISTED = re.compile(r"^([\w.-]+)==([^\s\\]+)", re.MULTILINE)  # in a list of packages with their hashes
PACKAGES = (
    "sightline",
    "torch",
    "torchvision",
    "ultralytics-opencv-headless",
    "numpy",
    "pillow",
    "simplejpeg",
    "ijson",
    "opencv-python-headless",
    "onnx",
    "onnxruntime-gpu",
    "faster-coco-eval",
    "mlflow",
    "kfp",
    "minio",
    "pydantic",
)


def git_commit() -> str | None:
    """Return the commit of the source tree, followed by `-dirty` where files differ; None outside a checkout.

    Images hold no checkout: there `SIGHTLINE_GIT_COMMIT`, a build argument, names the commit.
    """
    if os.environ.get(GIT_COMMIT):
        return os.environ[GIT_COMMIT]
    root = PACKAGE.parents[1]
    if not (root / ".git").exists() or not shutil.which("git"):
        return None

    def git(*arguments: str) -> str | None:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    return commit and commit + ("-dirty" if git("status", "--porcelain") else "")


def code_digest(image: str) -> str:
    """Return the sha256 over what runs a stage: Sightline's own source files, and the packages that affect a result.

    `image` is the name of the image that the stage has on a cluster (data, train or infer). In a container the packages
    are those on that image's list, which need not be installed in this one; elsewhere those of them that are installed.
    """
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(str(path.relative_to(PACKAGE)).encode() + b"\0" + path.read_bytes() + b"\0")
    listed, installed = _listed(image), packages()
    versions = listed if container_image() else {name: installed.get(name) for name in listed}
    digest.update(repr((installed["python"], sorted(versions.items()))).encode())
    return digest.hexdigest()


def container_image() -> str | None:
    """Return name and tag of the image that this process runs in; None outside Sightline's images."""
    return os.environ.get(IMAGE) or None


def _listed(image: str) -> dict[str, str]:
    """Return the versions of the packages that affect a result on an image's list: in the wheel, or in the sources."""
    packaged = PACKAGE / "images" / f"{image}.lock"
    path = packaged if packaged.exists() else PACKAGE.parents[1] / "images" / image / "requirements.lock"
    versions = dict(LISTED.findall(path.read_text(encoding="utf-8")))
    return {name: version for name, version in versions.items() if name in PACKAGES}


def packages() -> dict[str, str]:
    """Return the installed versions of the packages that affect a result."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {"python": platform.python_version(), **found}


def visible_gpus() -> list[str]:
    """Return the names of the NVIDIA GPUs that this process may use, from nvidia-smi, without loading torch."""
    return [card.name for card in devices.visible()]


def hardware() -> Hardware:
    """Describe what this process may use of its machine."""
    return Hardware(
        machine=f"{platform.system()} {platform.machine()}",
        cpu_count=machine.cores(),
        memory_bytes=machine.memory().most,
        gpus=visible_gpus(),
    )
