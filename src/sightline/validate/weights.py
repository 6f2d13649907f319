"""Starting weights: found, pinned to a sha256, and known to be a detector, before anything unpickles them.

A checkpoint is a pickle, and unpickling runs code. So nobody loads it before its digest is known: official names bring
theirs, other files need `weights.sha256` or the user's word (`weights.trust`). Until then only the pickle's opcodes
are read, which tell a detector from a pose or segmentation model without torch.
"""

from __future__ import annotations

import os
import pickletools
import re
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sightline.artifacts import Weights
from sightline.config import WeightsConfig
from sightline.errors import SightlineError, WeightsError, did_you_mean
from sightline.storage import Store, Transfer, cache_root, default_store, fetch_uri, open_store, sha256_file

# Published by Ultralytics in the assets release v8.4.0; sha256 of the released files.
PINS = {
    "yolov8n.pt": "f59b3d833e2ff32e194b5bb8e08d211dc7c5bdf144b90d2c8412c47ccfc83b36",
    "yolov8s.pt": "1f47a78bf100391c2a140b7ac73a1caae18c32779be7d310658112f7ac9aa78a",
    "yolo11n.pt": "0ebbc80d4a7680d14987a577cd21342b65ecfd94632bd9a8da63ae6417644ee1",
    "yolo26n.pt": "9b09cc8bf347f0fc8a5f7657480587f25db09b34bf33b0652110fb03a8ad4fef",
}
NAMES = [f"yolo{family}{size}" for family in ("v8", "11", "12", "26") for size in "nsmlx"]
RELEASE = "https://github.com/ultralytics/assets/releases/download/v8.4.0"
ENGINE_LICENCE = "AGPL-3.0"


def pin(config: WeightsConfig, store: Store) -> Weights:
    """Find the starting weights, check them and put them into the store under their digest.

    Raises WeightsError: nothing found, an unpinned or different digest, no checkpoint, not a detector.
    """
    if _is_architecture(config):
        return _from_scratch(config.source)
    with tempfile.TemporaryDirectory(prefix="sightline-weights-") as folder:
        path, digest, licence = find(config, store, Path(folder))
        key = f"weights/{digest}.pt"
        store.upload([Transfer(key, path, digest)])
    return Weights(source=config.source, uri=f"{store.uri}/{key}", sha256=digest, architecture=None, licence=licence)


def mistakes(base: WeightsConfig, values: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with the weights in a configuration that is wrong elsewhere; nothing is stored or downloaded.

    `base` is what the preset says of weights, `values` the dotted keys that were given.
    """
    given = {key.removeprefix("weights."): value for key, value in values.items() if key.startswith("weights.")}
    try:
        config = WeightsConfig.model_validate({**base.model_dump(), **given, "download": False})
        if _is_architecture(config):
            _from_scratch(config.source)
            return []
        with tempfile.TemporaryDirectory(prefix="sightline-weights-") as folder:
            find(config, open_store(default_store()), Path(folder))
    except SightlineError as error:
        return [str(error)]
    except ValidationError:
        return []  # named already, by the configuration's own check
    return []


def find(config: WeightsConfig, store: Store, folder: Path) -> tuple[Path, str, str]:
    """Return a local file with the weights, its sha256, and the licence that it states; what is fetched is in `folder`.

    Raises WeightsError.
    """
    path = _find(config, store, folder)
    licence = _check_detector(config.source, path)  # first: it says more than a digest does, and runs nothing
    digest = sha256_file(path)
    _check_digest(config, path.name, digest)
    return path, digest, licence


def _is_architecture(config: WeightsConfig) -> bool:
    return config.source.endswith((".yaml", ".yml"))


def _from_scratch(source: str) -> Weights:
    name = source.rsplit(".", 1)[0]
    if name not in NAMES:
        raise WeightsError(
            f"weights.source: got architecture '{source}', expected one of yolov8, yolo11, yolo12, yolo26 with a size "
            f"n, s, m, l or x, such as yolo11n.yaml{did_you_mean(name, NAMES)}"
        )
    return Weights(source=source, uri=None, sha256=None, architecture=f"{name}.yaml", licence=ENGINE_LICENCE)


def _find(config: WeightsConfig, store: Store, folder: Path) -> Path:
    """Return a local file with the weights, copied into `folder` where they come from elsewhere."""
    source = config.source
    if source.startswith("s3://"):
        return fetch_uri(source, folder / source.rsplit("/", 1)[1])
    path = Path(source.removeprefix("file://")).expanduser()
    if path.is_file():
        return path
    name = source if source.endswith(".pt") else f"{source}.pt"
    if "/" in source or name.removesuffix(".pt") not in NAMES:
        raise WeightsError(
            f"weights.source: '{source}' is not there: no such file, and no official name{did_you_mean(name, NAMES)}. "
            f"Give a path, an s3:// URI, an official name ({', '.join(PINS)}), or an architecture to train from "
            "scratch (yolo11n.yaml)."
        )
    expected = config.sha256 or PINS.get(name)
    if not expected:
        raise WeightsError(
            f"weights.source: '{name}' is an official name without a sha256 known here (known: {', '.join(PINS)}). "
            "Pass the digest you trust with --weights-sha256."
        )
    cached = cache_root() / "weights" / name
    places = [Path(os.environ["SIGHTLINE_WEIGHTS"]) / name] if "SIGHTLINE_WEIGHTS" in os.environ else []
    for place in (*places, cached):
        if place.is_file():
            return place
    if store.exists(f"weights/{expected}.pt"):
        return fetch_uri(f"{store.uri}/weights/{expected}.pt", folder / name)
    if config.download:
        return _download(name, expected, cached)
    raise WeightsError(
        f"weights.source: '{name}' is in no cache: looked in {', '.join(str(p) for p in (*places, cached))} and "
        f"{store.uri}/weights. Name its path, or its folder in SIGHTLINE_WEIGHTS, or allow the network (--download)."
    )


def _download(name: str, expected: str, target: Path) -> Path:
    """Fetch an official file, keeping it only if it has the expected digest."""
    url = f"{os.environ.get('SIGHTLINE_WEIGHTS_URL', RELEASE)}/{name}"
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{name}.{os.getpid()}.part")
    try:
        with urllib.request.urlopen(url, timeout=30) as answer, part.open("wb") as file:
            shutil.copyfileobj(answer, file)
        digest = sha256_file(part)
        if digest != expected:
            raise WeightsError(f"{url} has sha256 {digest}, expected {expected}. The file was thrown away.")
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
            "The file is damaged or not the one that was meant."
        )
    if not expected and digest not in PINS.values() and not config.trust:
        raise WeightsError(
            f"weights.source: nobody vouched for {config.source}; loading a checkpoint runs code from it. "
            f"Its sha256 is {digest}. Pass --weights-sha256 with the digest you were given, or --trust-weights."
        )


def _check_detector(source: str, path: Path) -> str:
    """Refuse what is no detection checkpoint; return the licence that the checkpoint states."""
    try:
        with zipfile.ZipFile(path) as archive:
            [pickle] = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            names, strings = _opcodes(archive.read(pickle))
    except (zipfile.BadZipFile, ValueError, EOFError):
        raise WeightsError(
            f"weights.source: {source} is no PyTorch checkpoint (expected the zip file that torch.save writes)."
        ) from None
    models = {name.rsplit(".", 1)[1] for name in names if re.fullmatch(r"ultralytics\.nn\.tasks\.\w+Model", name)}
    if models != {"DetectionModel"}:
        found = ", ".join(sorted(models)) or "no Ultralytics model"
        raise WeightsError(
            f"weights.source: {source} holds {found}, expected DetectionModel. "
            "Sightline trains detectors; take a checkpoint without -pose, -seg, -cls or -obb in its name."
        )
    return ENGINE_LICENCE if any("AGPL-3.0" in text for text in strings) else "unknown"


def _opcodes(pickle: bytes) -> tuple[set[str], list[str]]:
    """Return the dotted names that a pickle refers to, and its strings, without loading it."""
    names: set[str] = set()
    strings: list[str] = []
    for opcode, argument, _ in pickletools.genops(pickle):
        if opcode.name == "GLOBAL":
            names.add(str(argument).replace(" ", "."))
        elif opcode.name == "STACK_GLOBAL":
            names.add(".".join(strings[-2:]))
        elif isinstance(argument, str):
            strings.append(argument)
    return names, strings
