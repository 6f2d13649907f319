"""Checkpoints in a work folder as training writes them: a file, then its manifest."""

from __future__ import annotations

import json
from pathlib import Path

from sightline.atomic import write_bytes, write_text
from tests.helpers.content import noise, sha

TRAINING = "7a" * 32


def checkpoint(
    work: Path, epoch: int, *, best: int | None = None, size: int = 1000, seed: int = 0, key: str = TRAINING
) -> Path:
    """Write the checkpoint of an epoch, of `size` bytes that `seed` chooses; returns its manifest."""
    data = noise(size, 1000 * seed + epoch)
    manifest = work / "checkpoints" / f"epoch-{epoch:04}.json"
    write_bytes(manifest.with_suffix(".pt"), data)
    facts = {"key": key, "epoch": epoch, "best_epoch": best or epoch, "sha256": sha(data), "size_bytes": size}
    write_text(manifest, json.dumps(facts))
    return manifest
