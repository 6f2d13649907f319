"""Opens an export: the file that ships, if its bytes are still the exported ones, and the split it is scored on."""

from __future__ import annotations

from pathlib import Path

from sightline.documents import ExportDocument, Split, read
from sightline.errors import StageInputError
from sightline.runtime.stage_frame import same_snapshot
from sightline.storage import sha256_file

SPLIT: Split = "test"


def exported_model(export: Path, snapshot: str) -> tuple[ExportDocument, Path]:
    """Return an export's document and its ONNX file.

    Raises StageInputError if the file is missing, has other bytes than were exported, or comes from another snapshot.
    """
    exported = read(ExportDocument, export)
    same_snapshot(exported.snapshot, snapshot, f"The export in {export}")
    model = export / exported.onnx
    if not model.is_file():
        raise StageInputError(f"{model} does not exist; expected the file that was exported. Export again.")
    digest = sha256_file(model)
    if digest != exported.sha256:
        raise StageInputError(f"{model} has sha256 {digest}, but {exported.sha256} was exported. Export again.")
    return exported, model
