"""Register: make an accepted ONNX file a version in MLflow's model registry, and verify it by downloading it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sightline import summary
from sightline.documents import (
    ErrorReport,
    EvaluateDocument,
    ExportDocument,
    RegisterDocument,
    ReportDocument,
    StageOutcome,
    SummaryDocument,
    TrainDocument,
    ValidateDocument,
    read,
)
from sightline.errors import StageInputError, TrackingError
from sightline.pages import run_page
from sightline.runtime import progress
from sightline.runtime.stage_frame import moment, running, same_snapshot
from sightline.storage import sha256_file
from sightline.tracking import address, records, registry, server


def run(*, run_id: str, folders: Mapping[str, Path], out: Path) -> RegisterDocument | None:
    """Register `export/model.onnx` and write `register.json` and the final `summary.json` into `out`.

    `folders` maps validate, train, export, evaluate and report to their folders, and sample for the page. Registering
    the same file of the same run again returns the existing version. Where tracking is switched off there is no
    registry: it says so, leaves nothing and returns None.

    Raises StageInputError if the verdict is not accepted, the file is not the scored one or the run is not recorded,
    TrackingError if MLflow refuses or does not answer.
    """
    uri = address.tracking_uri()
    if uri is None:
        progress.notice(f"nothing is registered: {address.OFF}")
        return None
    with running("register", out) as seconds:
        same_data(folders)
        exported = read(ExportDocument, folders["export"])
        evaluated = read(EvaluateDocument, folders["evaluate"])
        reported = read(ReportDocument, folders["report"])
        place = recorded(reported, folders["report"])
        file = folders["export"] / exported.onnx
        check(file, exported, evaluated)
        model = registry.Model(
            file=file,
            run_id=run_id,
            validated=read(ValidateDocument, folders["validate"]),
            trained=read(TrainDocument, folders["train"]),
            exported=exported,
            evaluated=evaluated,
            summary=read(SummaryDocument, folders["report"]),
        )
        try:
            with server.client(uri, "register") as mlflow:
                version = registry.register(mlflow, model, place.run_id)
                document = RegisterDocument(
                    model_name=version.name,
                    version=str(version.version),
                    aliases=sorted(version.aliases),
                    tracking_uri=place.tracking_uri,
                    run_id=place.run_id,
                    onnx_sha256=exported.sha256,
                    seconds=seconds(),
                )
                result = finished(model.summary, reported, document)
                # The report said that registration follows; now it says which version it became.
                records.conclude(mlflow, place.run_id, result, run_page.render(result, folders))
        except TrackingError as error:
            result = failed(model.summary, error)
            records.record_end(result, folders, run_page.render(result, folders), uri)
            raise
        result.write(out)
        document.write(out)
    return document


def in_words(document: RegisterDocument | None) -> str:
    """Return the model version as a few lines of Markdown, for the dashboard; None is one that is not registered."""
    if document is None:
        return f"Nothing is registered: {address.OFF}.\n"
    aliases = ", ".join(f"`{alias}`" for alias in document.aliases) or "none"
    return (
        f"**{document.model_name}, version {document.version}**\n\n"
        f"- aliases: {aliases}\n- registry: {document.tracking_uri}\n- ONNX sha256: `{document.onnx_sha256}`\n"
    )


def recorded(reported: ReportDocument, folder: Path) -> address.Place:
    """Return the MLflow run that the version belongs to. Raises StageInputError if tracking was off at the report."""
    place = address.place_of(reported)
    if place is None:
        raise StageInputError(
            f"{folder} was written while tracking was switched off, so MLflow has no run to register a model of. Run "
            "`sightline report` again, and then this."
        )
    return place


def same_data(folders: Mapping[str, Path]) -> None:
    """Refuse documents of different snapshots: the score would not belong to the data that the version names.

    Raises StageInputError.
    """
    snapshot = read(ValidateDocument, folders["validate"]).snapshot
    same_snapshot(read(TrainDocument, folders["train"]).snapshot, snapshot, f"The training in {folders['train']}")
    same_snapshot(read(ExportDocument, folders["export"]).snapshot, snapshot, f"The export in {folders['export']}")
    evaluated = read(EvaluateDocument, folders["evaluate"])
    same_snapshot(evaluated.snapshot, snapshot, f"The score in {folders['evaluate']}")


def check(file: Path, exported: ExportDocument, evaluated: EvaluateDocument) -> None:
    """Refuse a model that was not accepted, or a file that is not the one exported and scored.

    Raises StageInputError.
    """
    if evaluated.verdict != "accepted":
        raise StageInputError(
            "The score gate rejected this model, so it is not registered: " + "; ".join(evaluated.reasons)
        )
    if not file.is_file():
        raise StageInputError(f"{file} does not exist; expected the folder that `sightline export` wrote.")
    found = sha256_file(file)
    for name, wanted in (("export.json", exported.sha256), ("evaluate.json", evaluated.onnx_sha256)):
        if found != wanted:
            raise StageInputError(
                f"{file} has sha256 {found}, but {name} names {wanted}. The score belongs to other bytes: "
                "export and evaluate again."
            )


def finished(before: SummaryDocument, reported: ReportDocument, document: RegisterDocument) -> SummaryDocument:
    """Return the summary of the run now that its model is registered."""
    return before.model_copy(
        update={
            "status": "registered",
            "finished_at": moment(),
            "register_": summary.registered(document),
            "stages": [
                *before.stages,
                StageOutcome(name="report", seconds=reported.seconds, status="done"),
                StageOutcome(name="register", seconds=document.seconds, status="done"),
            ],
        }
    )


def failed(before: SummaryDocument, error: TrackingError) -> SummaryDocument:
    """Return the summary of a run whose model could not be registered."""
    report = ErrorReport(stage="register", kind=error.kind, message=str(error), exit_code=error.exit_code)
    return before.model_copy(update={"status": "failed", "finished_at": moment(), "error": report})
