"""What a stage left, as it lies in the store and travels from task to task: its documents, and where its files are."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from sightline.atomic import write_text
from sightline.documents.base import Part, Sha256
from sightline.errors import StageInputError


class StoredFile(Part):
    """A file of a stage in the store."""

    uri: str
    sha256: Sha256
    size_bytes: int


class StageRecord(Part):
    """The result of a stage: small enough to travel, and enough to put its folder together on another machine."""

    schema_version: Literal[2] = 2
    stage: str
    run_id: str = Field(description="The run that did the work; another one than that which uses it, if it was cached.")
    documents: dict[str, Any] = Field(description="The stage's JSON files by name.")
    files: dict[str, StoredFile] = Field(description="Its other files by name.")


def pictures(train: StageRecord | None) -> list[str]:
    """Return the names of the pictures that train left for the page; none where it has not trained."""
    return train.documents["train.json"].get("sheets", []) if train else []


Records = dict[str, StageRecord]  # by stage, in the order of the pipeline
RECORDS = TypeAdapter(Records)


def write_records(records: Records, path: Path) -> None:
    """Write the artifact that a task hands on: its own record and those of the stages that it builds on."""
    write_text(path, RECORDS.dump_json(records, indent=2).decode() + "\n")


def read_records(path: Path) -> Records:
    """Read the artifact of a task. Raises StageInputError for one of another version."""
    try:
        return RECORDS.validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise StageInputError(
            f"{path} is not what a task of this version hands on: {'.'.join(map(str, first['loc']))}: {first['msg']}. "
            "Start the run again without reusing earlier results."
        ) from None
