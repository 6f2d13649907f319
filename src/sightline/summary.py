"""The summary: the whole run in one document, put together from what the stages left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from sightline.documents import (
    DataDocument,
    Document,
    Documents,
    ErrorReport,
    EvaluateDocument,
    ExportDocument,
    RegisterDocument,
    StageOutcome,
    Status,
    SummaryData,
    SummaryDocument,
    SummaryEvaluate,
    SummaryExport,
    SummaryRegister,
    SummaryTrain,
    TrainDocument,
    ValidateDocument,
    load,
)
from sightline.runtime.stage_frame import NAMES, moment


def summarise(
    *,
    run_id: str,
    name: str | None = None,
    folders: Mapping[str, Path],
    started_at: str | None = None,
    tracked: bool = True,
    stages: Sequence[StageOutcome] = (),
    error: ErrorReport | None = None,
) -> SummaryDocument:
    """Consolidate a run. Without `stages`, those that left a document count as done.

    `started_at` is ISO 8601; without it the run began when validate did.
    The status is null as long as nothing is decided: a stage of an accepted run that registration still follows. None
    follows where tracking is off: unless `tracked`, or as the report's document says.
    """
    from sightline.runtime import provenance

    documents = load(folders)
    status, rejected_by = _status(documents, error, tracked and not documents.untracked)
    train = documents.train
    made = {name: each for name, each in vars(documents).items() if isinstance(each, Document) and name in NAMES}
    return SummaryDocument(
        run_id=run_id,
        name=name,
        model_name=_model_name(documents),
        status=status,
        rejected_by=rejected_by,
        started_at=started_at or (documents.validate.started_at if documents.validate else moment()),
        finished_at=moment(),
        git_commit=next((each.git_commit for each in made.values() if each.git_commit), provenance.git_commit()),
        images={name: each.image for name, each in made.items() if each.image},
        packages={**provenance.packages(), **(train.packages if train else {})},
        hardware=train.hardware if train else None,
        unchanged=documents.validate.unchanged if documents.validate else None,
        data=_data(documents.validate or documents.data),
        train=_train(train),
        export=_export(documents.export),
        evaluate=_evaluate(documents.evaluate),
        register_=registered(documents.register) if documents.register else None,
        stages=list(stages) or outcomes(documents),
        error=error,
    )


def outcomes(documents: Documents) -> list[StageOutcome]:
    """Name the stages that left a document, in the order of the pipeline."""
    return [
        StageOutcome(name=name, seconds=document.seconds, status="done")
        for name, document in vars(documents).items()
        if document and name in NAMES
    ]


def _status(
    documents: Documents, error: ErrorReport | None, tracked: bool
) -> tuple[Status | None, Literal["data", "score"] | None]:
    """Decide the status; an error after a rejecting verdict is still a failed run, since its record is incomplete."""
    if error:
        return ("rejected", "data") if error.kind == "data-rejected" else ("failed", None)
    if documents.validate and documents.validate.unchanged:
        return "unchanged", None
    if documents.evaluate and documents.evaluate.verdict == "rejected":
        return "rejected", "score"
    if documents.register:
        return "registered", None
    if documents.evaluate and not tracked:
        return "accepted", None
    return None, None


def _model_name(documents: Documents) -> str | None:
    """Return what the model would be called; of refused data the data report says it."""
    if documents.config:
        return documents.config.register_.model_name
    return documents.data.model_name if documents.data else None


def _data(document: ValidateDocument | DataDocument | None) -> SummaryData | None:
    """Summarise the data; a refused source has only its data report."""
    if document is None:
        return None
    severities = Counter[str]()
    for result in document.findings:
        severities[result.severity] += result.count
    return SummaryData(
        source=document.source,
        snapshot=document.snapshot if isinstance(document, ValidateDocument) else None,
        classes=document.classes,
        images={split: counts.images for split, counts in document.splits.items()},
        boxes={split: counts.boxes for split, counts in document.splits.items()},
        issues={"error": severities["error"], "warning": severities["warning"]},
        dropped={"images": document.dropped_images, "boxes": document.dropped_boxes},
    )


def _train(document: TrainDocument | None) -> SummaryTrain | None:
    if document is None:
        return None
    return SummaryTrain(
        weights=document.weights,
        weights_sha256=document.weights_sha256,
        seed=document.seed,
        world_size=document.world_size,
        epochs_completed=document.epochs_completed,
        attempts=len(document.attempts),
        recovered=[attempt.ending for attempt in document.attempts if attempt.ending != "finished"],
        image_size=document.config.image_size,
        asked_image_size=document.asked_image_size,
        cut_short=document.cut_short,
        seconds=document.seconds,
        best=document.best,
    )


def _export(document: ExportDocument | None) -> SummaryExport | None:
    return SummaryExport.model_validate(_shared(document, SummaryExport)) if document else None


def _evaluate(document: EvaluateDocument | None) -> SummaryEvaluate | None:
    return SummaryEvaluate.model_validate(_shared(document, SummaryEvaluate)) if document else None


def registered(document: RegisterDocument) -> SummaryRegister:
    """Return the model version, in short."""
    return SummaryRegister.model_validate(_shared(document, SummaryRegister))


def _shared(
    document: ExportDocument | EvaluateDocument | RegisterDocument,
    short: type[SummaryExport] | type[SummaryEvaluate] | type[SummaryRegister],
) -> dict[str, Any]:
    """Return the fields of a document that its short form has under the same name."""
    return {name: getattr(document, name) for name in short.model_fields}
