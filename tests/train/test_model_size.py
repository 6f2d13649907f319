"""The machine is judged by the size of the model that is trained, also where its weights lie under a digest."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from sightline import train
from sightline.config import TrainConfig
from sightline.documents import Architecture, PinnedWeights, WeightsReference
from sightline.errors import DeviceError
from sightline.runtime import machine
from sightline.storage import sha256_file
from sightline.storage.files import file_uri
from sightline.train.preflight import judge

HUGE = TrainConfig(batch=4096, image_size=4096)  # more than any machine's memory holds
SNAPSHOT = f"file:///nowhere/snapshots/{'5f' * 32}"


def need(text: str) -> str:
    [found] = re.findall(r"needs? about [\d.]+ [MGT]B", text)
    return found


def refusal(weights: WeightsReference, out: Path) -> str:
    with pytest.raises(DeviceError) as caught:
        train.run(snapshot=SNAPSHOT, config=HUGE, weights=weights, code="c0" * 32, out=out)
    return need(str(caught.value))


def made_from(architecture: str, shared: Path, folder: Path) -> PinnedWeights:
    """Put a checkpoint that names another architecture into a store, as validate does."""
    path = folder / "made.pt"
    with zipfile.ZipFile(shared / "weights" / "yolo11n.pt") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b"yolo11n.yaml", architecture.encode()))
    digest = sha256_file(path)
    place = path.rename(folder / f"{digest}.pt")
    return PinnedWeights(uri=file_uri(place), sha256=digest)


def test_weights_in_a_store_need_the_memory_of_their_own_size(shared: Path, tmp_path: Path) -> None:
    needs = {
        size: need(judge(HUGE, size, machine.memory(), machine.cores(), machine.shared_memory())[0][0])
        for size in ("n", "x")
    }
    assert needs["n"] != needs["x"]
    assert refusal(Architecture(architecture="yolo11x.yaml"), tmp_path / "a") == needs["x"]
    assert refusal(made_from("yolo11x.yaml", shared, tmp_path), tmp_path / "b") == needs["x"]
    assert refusal(made_from("yolo11n.yaml", shared, tmp_path), tmp_path / "c") == needs["n"]
    assert refusal(made_from("my-own.yaml!", shared, tmp_path), tmp_path / "d") == needs["n"], "the least it can be"
    assert not list((tmp_path / "runs").rglob("*.*")), "a training that was refused keeps neither folder nor lock"
