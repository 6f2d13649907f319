"""What training starts from is said, not guessed: which of the two kinds it is, and the digest of the bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from sightline.config.presets import quickstart
from sightline.documents import (
    Architecture,
    PinnedWeights,
    ValidateDocument,
    Weights,
    WeightsReference,
    parse_weights,
    read,
)
from sightline.errors import StageInputError, WeightsError
from sightline.weights import model_size
from tests.helpers import documents

DIGEST = "0ebb" * 16


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        (Architecture(architecture="yolo11n.yaml"), "architecture:yolo11n.yaml"),
        (PinnedWeights(uri="s3://bucket/weights/a.pt", sha256=DIGEST), f"s3://bucket/weights/a.pt#sha256={DIGEST}"),
        (PinnedWeights(uri="file:///mnt/a.yaml", sha256=DIGEST), f"file:///mnt/a.yaml#sha256={DIGEST}"),
        (
            PinnedWeights(uri=f"s3://b/it's #sha256={'f' * 64}", sha256=DIGEST),
            f"s3://b/it's #sha256={'f' * 64}#sha256={DIGEST}",
        ),
    ],
)
def test_a_reference_survives_the_string_of_a_pipeline_parameter(reference: WeightsReference, text: str) -> None:
    assert reference.text() == text
    assert parse_weights(text) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yolo11n.yaml",  # whose kind would be guessed from the suffix
        f"s3://bucket/weights/{DIGEST}.pt",  # a digest in a file name binds nothing
        f"s3://bucket/a.pt#sha256={DIGEST[:-1]}",
        f"s3://bucket/a.pt#sha256={DIGEST.upper()}",
        f"/mnt/a.pt#sha256={DIGEST}",
        "architecture:../models/mine.yaml",
        "architecture:yolo11n.pt",
    ],
)
def test_what_is_no_reference_is_refused_with_both_forms(text: str) -> None:
    with pytest.raises(WeightsError) as caught:
        parse_weights(text)
    for words in (f"got '{text}'", "architecture:NAME.yaml", "URI#sha256=DIGEST"):
        assert words in str(caught.value)


def test_a_document_holds_one_kind_or_the_other() -> None:
    kinds = [{"architecture": "yolo11n.yaml"}, {"uri": "s3://bucket/a.pt", "sha256": DIGEST}]
    weights_read = [Weights.model_validate({"source": "x", "reference": kind, "licence": "y"}) for kind in kinds]
    assert [weights.sha256 for weights in weights_read] == [None, DIGEST]
    assert [weights.model_dump()["reference"] for weights in weights_read] == kinds
    for kind in ({}, {"uri": "s3://bucket/a.pt"}, {**kinds[0], **kinds[1]}):
        with pytest.raises(ValidationError):
            Weights.model_validate({"source": "x", "reference": kind, "licence": "y"})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"uri": "http://host/a.pt"}, "weights.reference.checkpoint.uri: String should match pattern '^(file|s3)://'"),
        ({"sha256": "0e"}, "weights.reference.checkpoint.sha256: String should match pattern"),
        ({"sha256": None}, "weights.reference.checkpoint.sha256: Input should be a valid string"),
        ({"architecture": "a.pt"}, "weights.reference.architecture.architecture: String should match pattern"),
        (None, "of this version writes: Invalid JSON: EOF while parsing"),
    ],
)
def test_what_is_wrong_with_a_reference_in_a_document_is_named(
    tmp_path: Path, change: dict[str, str] | None, problem: str
) -> None:
    path = documents.validate(quickstart()).write(tmp_path)
    values = json.loads(path.read_text())
    if change and "architecture" in change:
        values["weights"]["reference"] = change
    values["weights"]["reference"].update(change or {})
    path.write_text(json.dumps(values) if change else "")
    with pytest.raises(StageInputError) as raised:
        read(ValidateDocument, tmp_path)
    assert problem in raised.value.message
    assert ": :" not in raised.value.message


def test_a_models_size_is_that_of_an_official_file_name_and_not_of_its_folder() -> None:
    names = ["yolo11n.yaml", "/home/me/yolov8x.pt", "yolo26m", "s3://b/yolo11x/best.pt", "yolo11n-pose.pt", "a.pt"]
    assert [model_size(name) for name in names] == ["n", "x", "m", None, None, None]
