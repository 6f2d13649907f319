"""What training starts from, on the machine that trains."""

from __future__ import annotations

from pathlib import Path

from sightline.checkpoint_pickle import read_checkpoint
from sightline.documents import Architecture, PinnedArchitecture, WeightsReference
from sightline.storage import fetch_uri
from sightline.train.work_folder import START
from sightline.weights import model_size


def fetch_start(weights: WeightsReference, work: Path) -> tuple[str, str | None]:
    """Return what the engine is to load, and the model's size; a checkpoint or a description is fetched into `work`.

    The name under which a checkpoint lies in a store says nothing of its size; it says itself what it was made from.
    """
    if isinstance(weights, Architecture):
        return weights.architecture, model_size(weights.architecture)
    if isinstance(weights, PinnedArchitecture):
        # The engine keeps the name in the checkpoint, and so does the exported file's contract.
        name = f"own-{weights.sha256[:12]}.yaml"
        return str(fetch_uri(weights.architecture_uri, work / name, sha256=weights.sha256)), None
    path = fetch_uri(weights.uri, work / START, sha256=weights.sha256)
    return str(path), model_size(read_checkpoint(weights.uri, path).architecture or "")
