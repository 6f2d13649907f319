"""Finds the starting weights, checks that they are a detector, and pins them to a sha256 in the store.

A checkpoint is a pickle, and unpickling runs code, so no checkpoint is loaded before its digest is trusted: official
weights have a known digest, other files need `weights.sha256` or `weights.trust`. Until then only the pickle's opcodes
are read, which tell a detector from a pose or segmentation model without torch.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sightline.atomic import write_bytes
from sightline.checkpoint_pickle import ENGINE_LICENCE, CheckpointInfo, read_checkpoint
from sightline.config import RunConfig, WeightsConfig, freezing
from sightline.documents import Architecture, PinnedArchitecture, PinnedWeights, Weights, WeightsReference
from sightline.errors import StorageUsageError, WeightsError, did_you_mean, shortened
from sightline.storage import Store, Transfer, cache_root, fetch_uri, sha256_file
from sightline.weights import description, official
from sightline.weights.shipped import SHIPPED

YAML = (".yaml", ".yml")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file on this machine, and its digest."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Described:
    """A file on this machine that describes a network of the user's own, and its digest."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class FoundWeights:
    """Starting weights that are not in the store yet, and what is known of their network without loading it."""

    source: str  # what the user asked for
    start: Architecture | Checkpoint | Described
    licence: str
    layers: int | None  # None where the file does not state it, here and below
    nms_free: bool  # whether there is a one-to-one head
    stride: int | None

    def unsupported_settings(self, config: RunConfig) -> list[str]:
        """Return a message for each setting that this network does not support."""
        problems = []
        if self.layers is not None:
            problems += freezing.beyond(config.train.freeze, self.layers, self.source)
        if self.stride is not None and config.train.image_size % self.stride:
            problems.append(
                f"train.image_size: got {config.train.image_size}, expected a multiple of {self.stride}, the stride of "
                f"{self.source}"
            )
        if config.export.nms_free and not self.nms_free:
            problems.append(
                f"export.nms_free: got true, but {self.source} has no one-to-one head; of the official models "
                "only yolov10 and yolo26 have one"
            )
        return problems


def pin(found: FoundWeights, store: Store) -> Weights:
    """Upload the weights to the store under their digest, and return the reference to them. Raises StorageError."""
    start = found.start
    reference: WeightsReference
    if isinstance(start, Architecture):
        reference = start
    else:
        own = isinstance(start, Described)
        key = f"weights/{start.sha256}{'.yaml' if own else '.pt'}"
        store.upload([Transfer(key, start.path, start.sha256)])
        uri = f"{store.uri}/{key}"
        reference = (
            PinnedArchitecture(architecture_uri=uri, sha256=start.sha256)
            if own
            else PinnedWeights(uri=uri, sha256=start.sha256)
        )
    return Weights(source=found.source, reference=reference, licence=found.licence)


def find(config: WeightsConfig, store: Store | None, folder: Path) -> FoundWeights:
    """Find the starting weights and check them without unpickling; fetched files are written to `folder`.

    `store` is searched for official weights; None skips it. Raises WeightsError for weights that are not found, are not
    a detection checkpoint or a description of a network, have no trusted digest, or have another digest than the pinned
    one.
    """
    source = config.source
    if source.lower().endswith(YAML):
        return _shipped(config) if source.rsplit(".", 1)[0] in SHIPPED else _own(config, folder)
    path = _locate(config, store, folder)
    content = read_checkpoint(source, path)  # before the digest: its messages are clearer, and it runs no code
    digest = sha256_file(path)
    _check_digest(config, path, digest)
    return FoundWeights(
        source, Checkpoint(path, digest), content.licence, content.layers, content.nms_free, _stride(content)
    )


def _shipped(config: WeightsConfig) -> FoundWeights:
    name = config.source.rsplit(".", 1)[0]
    if config.sha256:
        raise WeightsError(
            f"weights.sha256: got a digest, but {config.source} is trained from scratch, without a weights file. "
            "Remove it."
        )
    network, start = SHIPPED[name], Architecture(architecture=f"{name}.yaml")
    return FoundWeights(config.source, start, ENGINE_LICENCE, network.layers, network.one_to_one, network.stride)


def _own(config: WeightsConfig, folder: Path) -> FoundWeights:
    """Read a description of the user's own; what was read is written to `folder`, in one spelling."""
    source = config.source
    path = _fetched(source, folder / "fetched.yaml") if source.startswith("s3://") else _here(source)
    if path is None:
        raise WeightsError(
            f"weights.source: got architecture '{shortened(source)}': no such file, and none of the engine's. They are "
            "yolov5, yolov8, yolo11, yolo12 and yolo26 with a size n, s, m, l or x, such as yolo11n.yaml, some with "
            "-p2, -p6 or -ghost behind it, yolov9 with t, s, m, c or e, and yolov10 with n, s, m, b, l or x"
            f"{did_you_mean(source.rsplit('.', 1)[0], SHIPPED) or '.'}"
        )
    if not config.trust:
        raise WeightsError(
            f"weights.source: {source} describes a network of your own, of which the engine evaluates a part as code. "
            "Look through it, and pass --trust-weights."
        )
    if config.sha256 and (digest := sha256_file(path)) != config.sha256:
        raise _other_digest(source, digest, config.sha256)
    network = description.read(path, source)
    text = network.text().encode()
    written = folder / "description.yaml"
    write_bytes(written, text)
    start = Described(written, sha256_file(written))
    return FoundWeights(source, start, "unknown", network.layers, network.one_to_one, network.stride)


def _here(source: str) -> Path | None:
    """Return the file of this machine that a source names, if there is one."""
    path = os.path.expanduser(source.removeprefix("file://"))  # noqa: PTH111
    return Path(path) if os.path.isfile(path) else None  # noqa: PTH113 - Path's raises for a name that is too long


def _fetched(source: str, target: Path) -> Path:
    try:
        return fetch_uri(source, target)
    except StorageUsageError as error:
        raise WeightsError(f"weights.source: {error}") from None


def _locate(config: WeightsConfig, store: Store | None, folder: Path) -> Path:
    """Return a local file with the weights; those from s3:// or the store are copied to `folder`."""
    source = config.source
    if source.startswith("s3://"):
        return _fetched(source, folder / "fetched.pt")
    if path := _here(source):
        return path
    name = source if source.endswith(".pt") else f"{source}.pt"
    if "/" in source or name.removesuffix(".pt") not in official.ARCHITECTURES:
        raise WeightsError(
            f"weights.source: '{shortened(source)}' was not found: no such file, and no official name"
            f"{did_you_mean(name.removesuffix('.pt'), official.ARCHITECTURES) or '.'} Give a path, an s3:// URI, an "
            "official name (yolo11n.pt), or an architecture to train from scratch (yolo11n.yaml)."
        )
    expected = (config.sha256,) if config.sha256 else official.PINS.get(name, ())
    if not expected:
        raise WeightsError(
            f"weights.source: '{name}' is an official name whose sha256 is not known here (known: "
            f"{official.known_names()}). Pass the digest that you trust with --weights-sha256."
        )
    cached = cache_root() / "weights" / name
    places = [Path(os.environ["SIGHTLINE_WEIGHTS"]) / name] if "SIGHTLINE_WEIGHTS" in os.environ else []
    for place in (*places, cached):
        if place.is_file():
            return place
    for digest in expected if store else ():
        assert store
        if store.exists(f"weights/{digest}.pt"):
            return fetch_uri(f"{store.uri}/weights/{digest}.pt", folder / name)
    if config.download:
        return official.download(name, expected[0], cached)
    raise WeightsError(
        f"weights.source: '{name}' is not in any cache: looked in {', '.join(str(p) for p in (*places, cached))}"
        f"{f' and {store.uri}/weights' if store else ''}. Give its path, set SIGHTLINE_WEIGHTS to its folder, or "
        "allow the download (--download)."
    )


def _check_digest(config: WeightsConfig, path: Path, digest: str) -> None:
    """Refuse a file that has not one of the digests that are right for it, or none that anybody vouches for."""
    by_name = config.source.removesuffix(".pt") in official.ARCHITECTURES and not Path(config.source).is_file()
    expected = (config.sha256,) if config.sha256 else official.PINS[path.name] if by_name else ()
    if expected and digest not in expected:
        where = f"{config.source} ({path})" if by_name else config.source
        raise _other_digest(where, digest, " or ".join(expected))
    if not expected and digest not in official.KNOWN and not config.trust:
        raise WeightsError(
            f"weights.source: {config.source} has no trusted sha256, and loading a checkpoint runs code from it. "
            f"Its sha256 is {digest}. Pass --weights-sha256 with the digest you were given, or "
            "--trust-weights."
        )


def _other_digest(source: str, digest: str, expected: str) -> WeightsError:
    return WeightsError(
        f"weights.source: {source} has sha256 {digest}, expected {expected}. "
        "The file is damaged, or it is not the intended one."
    )


def _stride(content: CheckpointInfo) -> int | None:
    """Return the stride of a checkpoint that was made from one of the engine's architectures."""
    network = SHIPPED.get(PurePosixPath(content.architecture or "").stem)
    return network.stride if network and network.layers == content.layers else None
