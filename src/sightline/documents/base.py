"""The documents that pass between stages: one JSON file per stage, each of a frozen, documented schema.

Absent is null everywhere: a class or size bucket without samples has no score, not -1, NaN or 0.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sightline.atomic import write_text
from sightline.errors import StageInputError

SCHEMA_VERSION = 2
IMAGE, GIT_COMMIT = "SIGHTLINE_IMAGE", "SIGHTLINE_GIT_COMMIT"  # environment variables that the images set
Verdict = Literal["accepted", "rejected"]  # of a gate, on data or on a score
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Score = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """A frozen piece of a document that refuses unknown keys, NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Document(Part):
    """The result of a stage, stored under `file_name` in the stage's folder."""

    schema_version: Literal[2] = 2
    image: str | None = Field(
        default_factory=lambda: os.environ.get(IMAGE) or None,
        description="Name and tag of the container image that made it; null outside Sightline's images.",
    )
    git_commit: str | None = Field(
        default_factory=lambda: os.environ.get(GIT_COMMIT) or None,
        description="Commit from which that image was first built.",
    )

    @classmethod
    def file_name(cls) -> str:
        """`TrainDocument` is stored in `train.json`."""
        return f"{cls.__name__.removesuffix('Document').lower()}.json"

    @classmethod
    def command(cls) -> str:
        """Return the command that writes the document: the stage of the same name."""
        return f"sightline {cls.file_name().removesuffix('.json')}"

    def write(self, folder: Path) -> Path:
        """Write the document into a stage's folder; it appears whole or not at all."""
        path = folder / self.file_name()
        write_text(path, self.model_dump_json(indent=2, by_alias=True) + "\n")
        return path


AnyDocument = TypeVar("AnyDocument", bound=Document)


def read(kind: type[AnyDocument], folder: Path) -> AnyDocument:
    """Read a stage's document out of its folder.

    Raises StageInputError if it is missing or does not fit the schema.
    """
    path = folder / kind.file_name()
    try:
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise StageInputError(
            f"{folder} holds no {path.name}; expected the folder that `{kind.command()}` wrote."
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("schema_version",):
            raise StageInputError(
                f"{path} was written by another version: its schema_version is {first['input']!r}, expected "
                f"{SCHEMA_VERSION}. Run `{kind.command()}` again."
            ) from None
        where = ": ".join(filter(None, (".".join(str(part) for part in first["loc"]), first["msg"])))
        raise StageInputError(
            f"{path} is not what `{kind.command()}` of this version writes: {where}. Run it again."
        ) from None


def decimals(confidence: float) -> str:
    """Return a confidence with three decimals, or with all where it has more: 0.9996 is not 1."""
    return f"{confidence:.3f}" if round(confidence, 3) == confidence else f"{confidence:.10g}"
