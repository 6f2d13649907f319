"""Reads the task, the number of layers and the licence of a checkpoint from its pickle's opcodes.

Nothing is unpickled, so no code of the checkpoint runs, and torch is not needed.
"""

from __future__ import annotations

import pickletools
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from sightline.errors import WeightsError

ENGINE_LICENCE = "AGPL-3.0"
MAX_BYTES = 64 << 20  # of the pickle, without the tensors; official ones have 0.1 to 0.4 MB
# What zipfile raises for damaged headers: wrong offsets, unknown compression methods, encryption.
DAMAGED = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError, OSError, LookupError, struct.error)
PUT = ("PUT", "BINPUT", "LONG_BINPUT")
GET = ("GET", "BINGET", "LONG_BINGET")
INTEGERS = ("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1")


@dataclass(frozen=True)
class CheckpointInfo:
    """What the opcodes of a checkpoint's pickle state about its network."""

    licence: str
    architecture: str | None  # the engine's file that describes the network; None where none or several are named
    layers: int | None  # None where the modules are not numbered as the engine numbers them
    nms_free: bool  # whether it has a one-to-one head


@dataclass
class _Opcodes:
    """The arguments of a pickle's opcodes: dotted names, texts, and what follows the texts `i` and `yaml_file`."""

    names: set[str]
    texts: list[str]
    indices: set[int]
    files: set[str]


def read_checkpoint(source: str, path: Path) -> CheckpointInfo:
    """Return what is known of the detection checkpoint at `path`; messages call it `source`.

    Raises WeightsError for a file that cannot be read, is no checkpoint, or holds another model than a detector.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            [pickle] = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if archive.getinfo(pickle).file_size > MAX_BYTES:
                raise ValueError
            opcodes = _read_opcodes(archive.read(pickle))
    except PermissionError:
        raise WeightsError(f"weights.source: {source} cannot be read: permission denied.") from None
    except DAMAGED:
        raise WeightsError(
            f"weights.source: {source} is not a PyTorch checkpoint (expected the zip file that torch.save writes)."
        ) from None
    models = {
        name.rsplit(".", 1)[1] for name in opcodes.names if re.fullmatch(r"ultralytics\.nn\.tasks\.\w+Model", name)
    }
    if models != {"DetectionModel"}:
        found = ", ".join(sorted(models)) or "no Ultralytics model"
        raise WeightsError(
            f"weights.source: {source} holds {found}, expected DetectionModel. "
            "Sightline trains detectors; take a checkpoint without -pose, -seg, -cls or -obb in its name."
        )
    # The engine numbers the modules of a network from 0, each in its attribute `i`.
    numbered = opcodes.indices and opcodes.indices == set(range(len(opcodes.indices)))
    return CheckpointInfo(
        licence=ENGINE_LICENCE if any("AGPL-3.0" in text for text in opcodes.texts) else "unknown",
        architecture=next(iter(opcodes.files)) if len(opcodes.files) == 1 else None,
        layers=len(opcodes.indices) if numbered else None,
        nms_free="one2one_cv2" in opcodes.texts,
    )


def _read_opcodes(pickle: bytes) -> _Opcodes:
    """Collect the arguments of a pickle's opcodes; a repeated text is a reference to the memo."""
    opcodes = _Opcodes(set(), [], set(), set())
    memo: dict[int, str | None] = {}
    last: str | None = None  # the text that was just pushed
    for opcode, argument, _ in pickletools.genops(pickle):
        kind = opcode.name
        if kind in PUT or kind == "MEMOIZE":
            memo[len(memo) if argument is None else int(argument)] = last
            continue
        if kind in INTEGERS and last == "i" and argument is not None:
            opcodes.indices.add(int(argument))
        if kind == "GLOBAL":
            opcodes.names.add(str(argument).replace(" ", "."))
        elif kind == "STACK_GLOBAL":
            opcodes.names.add(".".join(opcodes.texts[-2:]))
        elif isinstance(argument, str):
            opcodes.texts.append(argument)
        text = argument if isinstance(argument, str) else None
        text = memo.get(int(str(argument))) if kind in GET else text
        if text is not None and last == "yaml_file":
            opcodes.files.add(text)
        last = text
    return opcodes
