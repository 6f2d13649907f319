"""Reads what the opcodes of a checkpoint's pickle say: nothing is unpickled, nothing runs, torch is not needed."""

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
MOST_BYTES = 64 << 20  # of the pickle, without the tensors; official ones have 0.1 to 0.4 MB
# Damage in a zip file's headers shows as any of these: a wrong place, a method or an encryption that is not there.
DAMAGED = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError, OSError, LookupError, struct.error)
PUT = ("PUT", "BINPUT", "LONG_BINPUT")
GET = ("GET", "BINGET", "LONG_BINGET")
INTEGERS = ("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1")


@dataclass(frozen=True)
class Content:
    """What a checkpoint says of itself."""

    licence: str
    architecture: str | None  # the engine's file that describes the network; null where none or several are named
    layers: int | None  # null where the modules are not numbered as the engine does
    nms_free: bool


@dataclass
class _Opcodes:
    """What is said in a pickle: dotted names, texts, and what follows the texts `i` and `yaml_file`."""

    names: set[str]
    texts: list[str]
    numbers: set[int]
    files: set[str]


def read_checkpoint(source: str, path: Path) -> Content:
    """Refuse what is no detection checkpoint; return what it says of itself. Raises WeightsError."""
    try:
        with zipfile.ZipFile(path) as archive:
            [pickle] = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if archive.getinfo(pickle).file_size > MOST_BYTES:
                raise ValueError
            said = _opcodes(archive.read(pickle))
    except PermissionError:
        raise WeightsError(f"weights.source: {source} cannot be read: permission denied.") from None
    except DAMAGED:
        raise WeightsError(
            f"weights.source: {source} is no PyTorch checkpoint (expected the zip file that torch.save writes)."
        ) from None
    models = {name.rsplit(".", 1)[1] for name in said.names if re.fullmatch(r"ultralytics\.nn\.tasks\.\w+Model", name)}
    if models != {"DetectionModel"}:
        found = ", ".join(sorted(models)) or "no Ultralytics model"
        raise WeightsError(
            f"weights.source: {source} holds {found}, expected DetectionModel. "
            "Sightline trains detectors; take a checkpoint without -pose, -seg, -cls or -obb in its name."
        )
    # The engine numbers the modules of a network from 0, each in its attribute `i`.
    numbered = said.numbers and said.numbers == set(range(len(said.numbers)))
    return Content(
        licence=ENGINE_LICENCE if any("AGPL-3.0" in text for text in said.texts) else "unknown",
        architecture=next(iter(said.files)) if len(said.files) == 1 else None,
        layers=len(said.numbers) if numbered else None,
        nms_free="one2one_cv2" in said.texts,
    )


def _opcodes(pickle: bytes) -> _Opcodes:
    """Go over a pickle's opcodes; a text that occurs again is a reference to the memo."""
    said = _Opcodes(set(), [], set(), set())
    memo: dict[int, str | None] = {}
    last: str | None = None  # the text that was just pushed
    for opcode, argument, _ in pickletools.genops(pickle):
        kind = opcode.name
        if kind in PUT or kind == "MEMOIZE":
            memo[len(memo) if argument is None else int(argument)] = last
            continue
        if kind in INTEGERS and last == "i" and argument is not None:
            said.numbers.add(int(argument))
        if kind == "GLOBAL":
            said.names.add(str(argument).replace(" ", "."))
        elif kind == "STACK_GLOBAL":
            said.names.add(".".join(said.texts[-2:]))
        elif isinstance(argument, str):
            said.texts.append(argument)
        text = argument if isinstance(argument, str) else None
        text = memo.get(int(str(argument))) if kind in GET else text
        if text is not None and last == "yaml_file":
            said.files.add(text)
        last = text
    return said
