"""Finds the starting weights, checks that they are a detector, and pins them to a sha256 in the store.

A checkpoint is a pickle, and unpickling runs code, so no checkpoint is loaded before its digest is trusted: official
weights have a known digest, other files need `weights.sha256` or `weights.trust`. Until then only the pickle's opcodes
are read, which tell a detector from a pose or segmentation model without torch.
"""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from uuid import uuid4

from sightline.checkpoint_pickle import ENGINE_LICENCE, read_checkpoint
from sightline.config import RunConfig, WeightsConfig, freezing
from sightline.documents import Architecture, PinnedWeights, Weights, WeightsReference
from sightline.errors import StorageUsageError, WeightsError, did_you_mean, shortened
from sightline.storage import Store, Transfer, cache_root, fetch_uri, sha256_file

# sha256 of the files that Ultralytics published in its assets release v8.4.0.
PINS = {
    "yolov8n.pt": "f59b3d833e2ff32e194b5bb8e08d211dc7c5bdf144b90d2c8412c47ccfc83b36",
    "yolov8s.pt": "1f47a78bf100391c2a140b7ac73a1caae18c32779be7d310658112f7ac9aa78a",
    "yolo11n.pt": "0ebbc80d4a7680d14987a577cd21342b65ecfd94632bd9a8da63ae6417644ee1",
    "yolo26n.pt": "9b09cc8bf347f0fc8a5f7657480587f25db09b34bf33b0652110fb03a8ad4fef",
}
NAMES = [f"yolo{family}{size}" for family in ("v8", "11", "12", "26") for size in "nsmlx"]
LAYERS = {"yolov8": 23, "yolo11": 24, "yolo12": 22, "yolo26": 24}  # modules of the engine's architecture files
NMS_FREE = ("yolo26",)  # families with a one-to-one head
RELEASE = "https://github.com/ultralytics/assets/releases/download/v8.4.0"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file on this machine, and its digest."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class FoundWeights:
    """Starting weights that are not in the store yet, and what is known of their network without loading it."""

    source: str  # what the user asked for
    start: Architecture | Checkpoint
    licence: str
    layers: int | None  # None where the file does not state it
    nms_free: bool  # whether there is a one-to-one head

    def unsupported_settings(self, config: RunConfig) -> list[str]:
        """Return a message for each setting that this network does not support."""
        problems = []
        if self.layers is not None:
            problems += freezing.beyond(config.train.freeze, self.layers, self.source)
        if config.export.nms_free and not self.nms_free:
            problems.append(
                f"export.nms_free: got true, but {self.source} has no one-to-one head; of the official models "
                "only yolo26 has one"
            )
        return problems


def model_size(name: str) -> str | None:
    """Return the size (n, s, m, l or x) of an official model by its file name; None for any other."""
    stem = PurePosixPath(name).stem
    return stem[-1] if stem in NAMES else None


def pin(found: FoundWeights, store: Store) -> Weights:
    """Upload the weights to the store under their digest, and return the reference to them. Raises StorageError."""
    reference: WeightsReference
    if isinstance(found.start, Checkpoint):
        key = f"weights/{found.start.sha256}.pt"
        store.upload([Transfer(key, found.start.path, found.start.sha256)])
        reference = PinnedWeights(uri=f"{store.uri}/{key}", sha256=found.start.sha256)
    else:
        reference = found.start
    return Weights(source=found.source, reference=reference, licence=found.licence)


def find(config: WeightsConfig, store: Store | None, folder: Path) -> FoundWeights:
    """Find the starting weights and check them without unpickling; fetched files are written to `folder`.

    `store` is searched for official weights; None skips it. Raises WeightsError for weights that are not found, are not
    a detection checkpoint, have no trusted digest, or have another digest than the pinned one.
    """
    source = config.source
    if source.endswith((".yaml", ".yml")):
        return _from_scratch(config)
    path = _locate(config, store, folder)
    content = read_checkpoint(source, path)  # before the digest: its messages are clearer, and it runs no code
    digest = sha256_file(path)
    _check_digest(config, path.name, digest)
    return FoundWeights(source, Checkpoint(path, digest), content.licence, content.layers, content.nms_free)


def _from_scratch(config: WeightsConfig) -> FoundWeights:
    source = config.source
    name = source.rsplit(".", 1)[0]
    if name not in NAMES:
        raise WeightsError(
            f"weights.source: got architecture '{source}', expected one of yolov8, yolo11, yolo12, yolo26 with a size "
            f"n, s, m, l or x, such as yolo11n.yaml{did_you_mean(name, NAMES) or '.'}"
        )
    if config.sha256:
        raise WeightsError(
            f"weights.sha256: got a digest, but {source} is trained from scratch, without a weights file. Remove it."
        )
    start, family = Architecture(architecture=f"{name}.yaml"), name[:-1]
    return FoundWeights(source, start, ENGINE_LICENCE, LAYERS[family], family in NMS_FREE)


def _locate(config: WeightsConfig, store: Store | None, folder: Path) -> Path:
    """Return a local file with the weights; those from s3:// or the store are copied to `folder`."""
    source = config.source
    if source.startswith("s3://"):
        try:
            return fetch_uri(source, folder / "fetched.pt")
        except StorageUsageError as error:
            raise WeightsError(f"weights.source: {error}") from None
    path = Path(os.path.expanduser(source.removeprefix("file://")))  # noqa: PTH111
    if os.path.isfile(path):  # noqa: PTH113 - Path's raises for a name that is too long
        return path
    name = source if source.endswith(".pt") else f"{source}.pt"
    if "/" in source or name.removesuffix(".pt") not in NAMES:
        raise WeightsError(
            f"weights.source: '{shortened(source)}' was not found: no such file, and no official name"
            f"{did_you_mean(name.removesuffix('.pt'), NAMES) or '.'} Give a path, an s3:// URI, an official name "
            f"({', '.join(PINS)}), or an architecture to train from scratch (yolo11n.yaml)."
        )
    expected = config.sha256 or PINS.get(name)
    if not expected:
        raise WeightsError(
            f"weights.source: '{name}' is an official name whose sha256 is not known here (known: {', '.join(PINS)}). "
            "Pass the digest that you trust with --weights-sha256."
        )
    cached = cache_root() / "weights" / name
    places = [Path(os.environ["SIGHTLINE_WEIGHTS"]) / name] if "SIGHTLINE_WEIGHTS" in os.environ else []
    for place in (*places, cached):
        if place.is_file():
            return place
    if store and store.exists(f"weights/{expected}.pt"):
        return fetch_uri(f"{store.uri}/weights/{expected}.pt", folder / name)
    if config.download:
        return _download(name, expected, cached)
    raise WeightsError(
        f"weights.source: '{name}' is not in any cache: looked in {', '.join(str(p) for p in (*places, cached))}"
        f"{f' and {store.uri}/weights' if store else ''}. Give its path, set SIGHTLINE_WEIGHTS to its folder, or "
        "allow the download (--download)."
    )


def _download(name: str, expected: str, target: Path) -> Path:
    """Download an official file to `target`; it is kept only if it has the expected digest."""
    url = f"{os.environ.get('SIGHTLINE_WEIGHTS_URL', RELEASE)}/{name}"
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{name}.{uuid4().hex}.part")  # in containers all have the same process id
    try:
        with urllib.request.urlopen(url, timeout=30) as answer, part.open("wb") as file:
            shutil.copyfileobj(answer, file)
        digest = sha256_file(part)
        if digest != expected:
            raise WeightsError(f"{url} has sha256 {digest}, expected {expected}. The file was deleted.")
        part.replace(target)
    except (urllib.error.URLError, OSError) as error:
        raise WeightsError(f"{url} could not be downloaded: {error}. Put the file at {target} yourself.") from None
    finally:
        part.unlink(missing_ok=True)
    return target


def _check_digest(config: WeightsConfig, name: str, digest: str) -> None:
    official = config.source.removesuffix(".pt") in NAMES and not Path(config.source).is_file()
    expected = config.sha256 or (PINS.get(name) if official else None)
    if expected and digest != expected:
        raise WeightsError(
            f"weights.source: {config.source} has sha256 {digest}, expected {expected}. "
            "The file is damaged, or it is not the intended one."
        )
    if not expected and digest not in PINS.values() and not config.trust:
        raise WeightsError(
            f"weights.source: {config.source} has no trusted sha256, and loading a checkpoint runs code from it. "
            f"Its sha256 is {digest}. Pass --weights-sha256 with the digest you were given, or "
            "--trust-weights."
        )
