"""The file that ships, taken out of an export only if its bytes are the exported ones, and its held-out split."""

from __future__ import annotations

from pathlib import Path

from sightline.documents import ExportDocument, Split, read
from sightline.errors import StageInputError
from sightline.runtime.stage_frame import same_snapshot
from sightline.storage import sha256_file

SPLIT: Split = "test"


def exported_model(export: Path, snapshot: str) -> tuple[ExportDocument, Path]:
    """Return an export's document and its file, whose bytes are the exported ones, made from that snapshot.

    Raises StageInputError.
    """
    exported = read(ExportDocument, export)
    same_snapshot(exported.snapshot, snapshot, f"The export in {export}")
    model = export / exported.onnx
    digest = sha256_file(model) if model.is_file() else "nothing"
    if digest != exported.sha256:
        raise StageInputError(f"{model} has sha256 {digest}, but {exported.sha256} was exported. Export again.")
    return exported, model
