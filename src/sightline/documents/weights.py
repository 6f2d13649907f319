"""What training starts from: an architecture, or a checkpoint identified by the digest of its bytes."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from sightline.documents.base import Part, Sha256
from sightline.errors import WeightsError, shortened

ARCHITECTURE = re.compile(r"architecture:([\w-]+\.yaml)")
PINNED = re.compile(r"(architecture:)?((?:file|s3)://.+)#sha256=([0-9a-f]{64})")


class Architecture(Part):
    """A network that the engine describes, trained from scratch."""

    architecture: str = Field(pattern=r"^[\w-]+\.yaml$", description="Name of the engine's file that describes it.")

    @property
    def start(self) -> str:
        """What a document of the training names it by."""
        return self.architecture

    @property
    def sha256(self) -> None:
        """None: an architecture has no bytes to digest."""

    def text(self) -> str:
        """Return the form that `parse` reads."""
        return f"architecture:{self.architecture}"


class PinnedArchitecture(Part):
    """A network that the user describes, in a store, trained from scratch."""

    architecture_uri: str = Field(pattern=r"^(file|s3)://", description="Where the description lies in the store.")
    sha256: Sha256 = Field(description="Digest of the description.")

    @property
    def start(self) -> str:
        """What a document of the training names it by."""
        return self.architecture_uri

    def text(self) -> str:
        """Return the form that `parse` reads."""
        return f"architecture:{self.architecture_uri}#sha256={self.sha256}"


class PinnedWeights(Part):
    """A checkpoint in a store, identified by the digest of its bytes."""

    uri: str = Field(pattern=r"^(file|s3)://", description="Where the bytes lie in the store.")
    sha256: Sha256 = Field(description="Digest of those bytes.")

    @property
    def start(self) -> str:
        """What a document of the training names it by."""
        return self.uri

    def text(self) -> str:
        """Return the form that `parse` reads: the URI, and the digest behind it as pip writes hashes of its links."""
        return f"{self.uri}#sha256={self.sha256}"


KINDS = {"architecture": Architecture, "description": PinnedArchitecture, "checkpoint": PinnedWeights}


def _kind(value: Any) -> str:
    """Tell which of the three a value means, so that a mistake in it is named as that one's."""
    for kind, made in KINDS.items():
        if isinstance(value, made):
            return kind
    keys = value if isinstance(value, dict) else ()
    return "architecture" if "architecture" in keys else "description" if "architecture_uri" in keys else "checkpoint"


WeightsReference = Annotated[
    Annotated[Architecture, Tag("architecture")]
    | Annotated[PinnedArchitecture, Tag("description")]
    | Annotated[PinnedWeights, Tag("checkpoint")],
    Discriminator(_kind),
]


def parse_weights(text: str) -> WeightsReference:
    """Read a reference from the one string as which it passes through a pipeline parameter. Raises WeightsError."""
    if found := ARCHITECTURE.fullmatch(text):
        return Architecture(architecture=found[1])
    if found := PINNED.fullmatch(text):
        described, uri, sha256 = found.groups()
        if described:
            return PinnedArchitecture(architecture_uri=uri, sha256=sha256)
        return PinnedWeights(uri=uri, sha256=sha256)
    raise WeightsError(
        f"weights: got '{shortened(text)}', expected what validate returns: architecture:NAME.yaml, or "
        "URI#sha256=DIGEST with the 64 digits of the sha256 of a checkpoint, or of a description with architecture: "
        "before the URI."
    )
