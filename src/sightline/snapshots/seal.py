"""Whether a split in the cache is as it was made: its files by name, size and time of change, compared as one digest.

Nothing is read but directories, so that every stage of every run can ask.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable
from pathlib import Path

from sightline.atomic import write_text


def close(root: Path, split: str, lists: Iterable[Path], loose: Collection[str]) -> None:
    """Note what a split's images, labels and lists are now; `loose` are images that the engine may repair in place."""
    names = [str(path.relative_to(root)) for path in lists]
    content = {"lists": names, "loose": sorted(loose), "digest": _digest(root, split, names, loose)}
    write_text(_path(root, split), json.dumps(content))


def holds(root: Path, split: str) -> bool:
    """Tell whether a split is there, whole and unchanged."""
    try:
        content = json.loads(_path(root, split).read_bytes())
        return bool(content["digest"] == _digest(root, split, content["lists"], set(content["loose"])))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _path(root: Path, split: str) -> Path:
    return root / f".{split}.seal"


def _digest(root: Path, split: str, lists: Iterable[str], loose: Collection[str]) -> str:
    """Return a digest over all files of a split; of a loose one only its name counts."""
    lines = []
    for kind in ("images", "labels"):
        with os.scandir(root / kind / split) as entries:
            for entry in entries:
                status = None if kind == "images" and entry.name in loose else entry.stat()
                lines.append(f"{kind}/{entry.name} {status and (status.st_size, status.st_mtime_ns)}")
    for name in lists:
        status = (root / name).stat()
        lines.append(f"{name} {(status.st_size, status.st_mtime_ns)}")
    return hashlib.sha256("\n".join(sorted(lines)).encode(errors="surrogateescape")).hexdigest()
