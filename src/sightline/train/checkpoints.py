"""The checkpoints of a training in its work folder: what lies there, which is good, and which are kept.

    checkpoints/epoch-0007.pt      the whole state after seven epochs (`engine/state.py`)
    checkpoints/epoch-0007.json    its manifest, written last: what it names is complete

Both are written beside their place and renamed. Needs no torch: the supervisor reads manifests too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from sightline.atomic import write_text
from sightline.config import TrainConfig
from sightline.documents import AttemptSettings, Part, Sha256
from sightline.runtime import progress
from sightline.storage import sha256_file
from sightline.train.history import Measured

FOLDER = "checkpoints"
NAME = re.compile(r"epoch-(\d+)\.json")
NEWEST = 2  # kept, beside the best: should the last be damaged, the one before is there


class Manifest(Part):
    """What a checkpoint holds, and for which training."""

    schema_version: Literal[1] = 1
    key: Sha256 = Field(description="Of the training; another one's checkpoint is refused.")
    epoch: int = Field(ge=1, description="Finished epochs.")
    sha256: Sha256
    size_bytes: int
    best_epoch: int = Field(description="The best epoch so far, by the engine's fitness on val.")
    fitness: float | None
    finished: bool = Field(description="Whether this epoch was the last one.")
    world_size: int
    seed: int
    snapshot: str
    config: TrainConfig
    settings: AttemptSettings
    engine: str
    rows: list[dict[str, float | None]] = Field(description="The engine's table, one row an epoch; null is not finite.")
    measured: list[Measured] = Field(description="What each epoch took, one for each row.")
    created_at: str

    @property
    def state(self) -> str:
        """Name of the file beside it."""
        return f"epoch-{self.epoch:04d}.pt"


def state_path(folder: Path, epoch: int) -> Path:
    """Return where the state after `epoch` finished epochs lies."""
    return folder / f"epoch-{epoch:04d}.pt"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Make a checkpoint whose state has been written visible, and remove those that are no longer needed."""
    write_text(state_path(folder, manifest.epoch).with_suffix(".json"), manifest.model_dump_json(indent=1))
    prune(folder, manifest.best_epoch, manifest.config.save_period)


def prune(folder: Path, best_epoch: int, period: int = 0) -> None:
    """Keep the newest checkpoints, the best, and those of every `period` epochs."""
    found = list(_manifests(folder))
    bests = {best_epoch, *(_best(path) for _, path in found[:NEWEST])}  # should the newest be damaged, the other counts
    for epoch, _ in found[NEWEST:]:
        if epoch not in bests and not (period and epoch % period == 0):
            state_path(folder, epoch).with_suffix(".json").unlink(missing_ok=True)  # first: it vouches for the other
            state_path(folder, epoch).unlink(missing_ok=True)


def _best(path: Path) -> int:
    try:
        return Manifest.model_validate_json(path.read_bytes()).best_epoch
    except (ValidationError, OSError):
        return 0


def tidy(folder: Path) -> None:
    """Remove what a killed process left half-written: files beside their place, and states without a manifest."""
    for path in folder.glob(".*.tmp"):
        path.unlink()
    for path in folder.glob("epoch-*.pt"):
        if not path.with_suffix(".json").exists():
            path.unlink()


def newest(folder: Path, key: str) -> Manifest | None:
    """Return the manifest of the newest good checkpoint; one that cannot be used is named, and the one before taken.

    Its manifest gets another name, so that it counts no more.
    """
    for _, path in _manifests(folder):
        manifest = check(path, key)
        if isinstance(manifest, Manifest):
            return manifest
        progress.notice(f"the checkpoint {path.with_suffix('.pt')} is not used: {manifest}.")
        path.replace(path.with_suffix(".refused"))
    return None


def newest_epoch(folder: Path) -> int:
    """Return the epochs of the newest checkpoint, unchecked; 0 without one."""
    return next((epoch for epoch, _ in _manifests(folder)), 0)


def check(path: Path, key: str) -> Manifest | str:
    """Return the manifest in `path`, or what is wrong with its checkpoint."""
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        what: Any = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        return f"its manifest cannot be read ({what})"
    state = path.with_suffix(".pt")
    if manifest.key != key:
        return f"it belongs to another training ({manifest.key[:12]}, expected {key[:12]})"
    if manifest.state != state.name:
        return f"its manifest is that of {manifest.state}"
    if not state.is_file():
        return "its file is missing"
    if (size := state.stat().st_size) != manifest.size_bytes:
        return f"it has {size} bytes, and was written with {manifest.size_bytes}"
    if (found := sha256_file(state)) != manifest.sha256:
        return f"its sha256 is {found[:12]}…, and was {manifest.sha256[:12]}… when it was written"
    return manifest


def _manifests(folder: Path) -> Iterator[tuple[int, Path]]:
    """Yield the epochs and paths of all manifests, the newest first."""
    found = [(int(match[1]), path) for path in folder.glob("epoch-*.json") if (match := NAME.fullmatch(path.name))]
    yield from sorted(found, reverse=True)
