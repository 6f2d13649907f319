"""What the stages of a run leave in the store, so that any process anywhere can say how the run went.

    runs/<run id>/<stage>.json         the stage's record: its documents, and its other files by sha256
    runs/<run id>/<stage>.error.json   why it failed
    runs/<run id>/summary.json         how the run ended; with report.html beside it
    files/<sha256>                     checkpoints, ONNX files, logs, drawings: once, however many runs use them
    trainings/<training key>.json      the record of a finished training, for every run that wants the same

A stage that came from a cache did not run and left nothing: whoever reads its record leaves it under the run again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

from sightline.atomic import write_text
from sightline.documents import ErrorReport, Part, SummaryDocument
from sightline.documents.stage_record import Records, StageRecord, StoredFile
from sightline.errors import StageInputError, StorageUsageError
from sightline.runtime.stage_frame import NAMES
from sightline.storage import MissingObject, Store, Transfer, fetch_uri, open_store, sha256_file
from sightline.storage.files import local_path

DOCUMENT = ".json"
ERROR = ".error.json"
SUMMARY, PAGE = "summary.json", "report.html"

Left = TypeVar("Left", bound=Part)


class RunStore(NamedTuple):
    """The part of a store that belongs to one run."""

    store: Store
    run_id: str

    def key(self, name: str) -> str:
        """Return the key of one of the run's objects."""
        return f"runs/{self.run_id}/{name}"

    def begin(self) -> None:
        """Remove what an earlier attempt under the same identity left. Raises StorageError."""
        if there := [entry.key for entry in self.store.entries(self.key(""))]:
            self.store.delete(there)

    def leave(self, records: Collection[StageRecord]) -> None:
        """Put records under the run; errors of earlier attempts at their stages no longer hold. Raises StorageError."""
        for record in records:
            self.store.put_bytes(self.key(record.stage + DOCUMENT), record.model_dump_json(indent=2).encode())
        self.succeed([record.stage for record in records])

    def fail(self, error: ErrorReport) -> None:
        """Put an error document under the run. Raises StorageError."""
        self.store.put_bytes(self.key(error.stage + ERROR), error.model_dump_json(indent=2).encode())

    def succeed(self, stages: Collection[str]) -> None:
        """Remove the errors that earlier attempts at tasks of these stages left. Raises StorageError."""
        there = [key for stage in stages if self.store.exists(key := self.key(stage + ERROR))]
        if there:  # who may only read and write can run everything that does not fail
            self.store.delete(there)

    def records(self) -> Records:
        """Return the records of the stages that have ended, in the order of the pipeline.

        Raises StorageError, and StageInputError for a record of another version.
        """
        return {name: record for name in NAMES if (record := self.record(name))}

    def record(self, stage: str) -> StageRecord | None:
        """Return the record of one stage; None if it has not ended. Raises as `records`."""
        return self._get(StageRecord, stage + DOCUMENT)

    def errors(self) -> dict[str, ErrorReport]:
        """Return why stages failed, in the order of the pipeline. Raises as `records`."""
        return {name: error for name in NAMES if (error := self.error(name))}

    def error(self, stage: str) -> ErrorReport | None:
        """Return why a stage failed; None if it did not. Raises as `records`."""
        return self._get(ErrorReport, stage + ERROR)

    def finish(self, summary: SummaryDocument, page: str) -> None:
        """Put summary and page under the run. Raises StorageError."""
        self.store.put_bytes(self.key(PAGE), page.encode())
        self.store.put_bytes(self.key(SUMMARY), summary.model_dump_json(indent=2, by_alias=True).encode())

    def summary(self) -> SummaryDocument | None:
        """Return the summary that was put under the run; None without one of this version. Raises StorageError."""
        try:
            return self._get(SummaryDocument, SUMMARY)
        except StageInputError:
            return None

    def _get(self, kind: type[Left], name: str) -> Left | None:
        try:
            return kind.model_validate_json(self.store.get_bytes(self.key(name)))
        except MissingObject:
            return None
        except ValidationError:
            raise StageInputError(
                f"{self.store.uri}/{self.key(name)} is damaged, or was written by another version. Start a new run."
            ) from None


def pack(stage: str, folder: Path, store: Store, run_id: str, known: Mapping[str, StoredFile] = {}) -> StageRecord:
    """Send the files of a stage's folder to the store and return its record; `known` files lie there already.

    Raises StorageError.
    """
    documents, files, waiting = {}, dict(known), []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if path.suffix == DOCUMENT:
            documents[name] = json.loads(path.read_text(encoding="utf-8"))
        elif name not in files:
            digest = sha256_file(path)
            key = f"files/{digest}"
            waiting.append(Transfer(key, path, digest))
            files[name] = StoredFile(uri=f"{store.uri}/{key}", sha256=digest, size_bytes=path.stat().st_size)
    store.upload(waiting)
    return StageRecord(stage=stage, run_id=run_id, documents=documents, files=files)


def unpack(record: StageRecord, folder: Path, names: Collection[str] | None = ()) -> Path:
    """Put a stage's documents into a folder, and of its other files those in `names` (None: all); returns the folder.

    Files that are there with the right bytes are left alone. Raises StorageError, StorageUsageError for a file that the
    store no longer has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in record.documents.items():
        write_text(folder / name, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    for name, file in record.files.items():
        if names is None or name in names:
            try:
                fetch_uri(file.uri, folder / name, file.sha256)
            except MissingObject as error:
                raise StorageUsageError(
                    f"The store lost {name} of {record.stage}, which the run {record.run_id} made: {error} Start the "
                    "run again without reusing earlier results."
                ) from None
    return folder


def missing(record: StageRecord) -> str | None:
    """Name a file of a record that the store no longer has, or has with other bytes; None if all are there.

    A bucket is asked for the size alone: what is fetched from it is checked then. Raises StorageError.
    """
    stores: dict[str, Store] = {}
    for name, file in record.files.items():
        place, _, key = file.uri.rpartition("/")
        if file.uri.startswith("s3://"):
            stores[place] = stores.get(place) or open_store(place)
            if stores[place].size(key) != file.size_bytes:
                return f"{file.uri} ({name}) is gone, or has another size"
            continue
        path = local_path(file.uri)
        try:
            found = sha256_file(path)
        except FileNotFoundError:
            return f"{path} ({name}) is gone"
        except OSError as error:
            return f"{path} ({name}) cannot be read ({error.strerror})"
        if found != file.sha256:
            return f"{path} ({name}) was changed or damaged"
    return None


def finished_training(store: Store, key: str) -> StageRecord | None:
    """Return the record of a finished training by its key, if the store has it and its files. Raises StorageError."""
    try:
        record = StageRecord.model_validate_json(store.get_bytes(_training(key)))
    except (MissingObject, ValidationError):  # of another version: then it is done again
        return None
    return None if missing(record) else record


def keep_training(store: Store, key: str, record: StageRecord) -> None:
    """Put the record of a finished training where every run finds it. Raises StorageError."""
    store.put_bytes(_training(key), record.model_dump_json(indent=2).encode())


def _training(key: str) -> str:
    return f"trainings/{key}{DOCUMENT}"
