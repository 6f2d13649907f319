"""What register leaves: the model version."""

from __future__ import annotations

from sightline.documents.base import Document, Sha256


class RegisterDocument(Document):
    """The model version."""

    model_name: str
    version: str
    aliases: list[str]
    tracking_uri: str
    run_id: str
    onnx_sha256: Sha256
    seconds: float
