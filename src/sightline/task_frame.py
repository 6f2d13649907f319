"""The frame of a pipeline task: which run it belongs to, where it works, and what it leaves in the store.

A run's identity is in the environment (`SIGHTLINE_RUN_ID`): on a cluster the job's id, by a label of the pod; on one
machine the run's id. It is no parameter of a task: that would end the caching of every task that has it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from sightline.documents.stage_record import Records, StageRecord, StoredFile, read_records, write_records
from sightline.errors import ConfigError, SightlineError, StorageError, from_os_error
from sightline.run_store import RunStore, pack, unpack
from sightline.runtime.lifetime import end_with_command
from sightline.runtime.stage_frame import error_report, failed, stop_on_signals
from sightline.storage import Store, default_store, open_store
from sightline.storage.patience import interrupted

RUN_ID, RUNS = "SIGHTLINE_RUN_ID", "SIGHTLINE_RUNS"
RUN_KEY = "SIGHTLINE_RUN_KEY"  # the run's name in the store, where it is not its id: on one machine ids are people's
NO_CACHE = "SIGHTLINE_NO_CACHE"  # set: a finished training is not taken from the store
ALL = None  # the files of a stage
# Errors after which a task that costs hours of GPUs is not repeated in the same run, neither by Kubeflow Pipelines nor
# by "Retry" in its dashboard: it would end in the same way. Other errors have their cause around the task.
BY_INPUT = ("configuration", "data", "weights")
FOR_GOOD = ("train", "internal")  # after all recoveries that could help, or by a fault of the code


class Task:
    """One task of a run. `stage` is the one that it counts as: gate as validate, verdict as evaluate."""

    def __init__(self, stage: str, *, first: bool) -> None:
        """Belong to the run that the environment names. Raises ConfigError if it names none.

        The run's first task removes what an earlier attempt under the same identity left, before it leaves anything.
        """
        self.stage, self.first = stage, first
        self.run_id = os.environ.get(RUN_ID, "")
        if not self.run_id:
            raise ConfigError(
                f"{RUN_ID} is not set, so this task does not know which run it belongs to. In a pod it comes from the "
                "label pipeline/runid; `sightline run` sets it; on the command line use the stage commands."
            )

    @cached_property
    def store(self) -> Store:
        """The run's store. Raises StorageError."""
        return open_store(default_store())

    @cached_property
    def run(self) -> RunStore:
        """What the run left in the store. Raises StorageError."""
        run = RunStore(self.store, os.environ.get(RUN_KEY) or self.run_id)
        if self.first:
            run.begin()
        return run

    def folder(self, stage: str) -> Path:
        """Return where the files of a stage are on this machine: in the run directory, or in a temporary one."""
        if runs := os.environ.get(RUNS):
            return Path(runs) / self.run_id / stage
        return Path(tempfile.gettempdir()) / f"sightline-{self.run_id}" / stage

    def record(self, known: Mapping[str, StoredFile] = {}) -> StageRecord:
        """Send the files of this task's stage to the store and return its record. Raises StorageError."""
        return pack(self.stage, self.folder(self.stage), self.store, self.run_id, known)

    def start_attempt(self, *, unless_final: bool = False) -> None:
        """Remove the error of an earlier attempt: this one may be killed before it can say why.

        With `unless_final`, end the process with that error where another attempt would end in the same way. Raises
        StorageError.
        """
        if unless_final and (known := self.run.error(self.stage)) and (why := _final(known.kind)):
            words = f"error: This task failed before in this run, {why}:\n{known.message}"
            print(words, file=sys.stderr, flush=True)
            sys.exit(known.exit_code)
        self.run.succeed([self.stage])

    def leave(self, record: StageRecord) -> None:
        """Leave the record of this task's stage under the run. Raises StorageError."""
        self.run.leave([record])

    def hand_on(self, record: StageRecord, artifact: str, earlier: Mapping[str, StageRecord] = {}) -> None:
        """Leave a record under the run and, with those of earlier stages, as an artifact to the tasks that follow.

        Raises StorageError.
        """
        self.leave(record)
        write_records({**earlier, record.stage: record}, Path(artifact))

    def taken(self, artifact: str) -> Records:
        """Return the records in an artifact, and leave them under this run: their stages may not have run in it.

        With this an attempt starts. Raises StorageError.
        """
        self.start_attempt()
        records = read_records(Path(artifact))
        self.run.leave(list(records.values()))
        return records

    def unpacked(self, records: Records, **files: Collection[str] | None) -> dict[str, Path]:
        """Put documents into the stages' folders and return these; `files` name what else is wanted, None for all.

        Raises StorageError.
        """
        return {stage: unpack(record, self.folder(stage), files.get(stage, ())) for stage, record in records.items()}

    def fail(self, error: BaseException) -> None:
        """Leave an error document, as far as the store can be reached."""
        failed(self.stage, error)
        if isinstance(error, StorageError | KeyboardInterrupt):
            interrupted.set()  # an outage has been waited out already, and a pod that is stopped has a second
        with contextlib.suppress(SightlineError):  # the message is printed; conclude says that nothing was left
            self.run.fail(error_report(self.stage, error))


@contextlib.contextmanager
def task(stage: str, *, first: bool = False) -> Iterator[Task]:
    """Run the block as a task. An error meant for the user ends the process with its exit code, without a traceback."""
    stop_on_signals()
    end_with_command()
    try:
        this = Task(stage, first=first)
        try:
            try:
                yield this
            except OSError as error:
                raise (from_os_error(error, this.folder(stage)) or error) from None
        except SystemExit:
            raise
        except BaseException as error:
            this.fail(error)
            raise
    except SightlineError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _final(kind: str) -> str | None:
    """Say why a task that failed with this kind of error is not repeated; None if it is."""
    if kind in BY_INPUT:
        return "and its inputs are the same. Correct what the message names, and start a new run"
    if kind in FOR_GOOD:
        return (
            "and is not repeated: it would most likely end in the same way. Correct what the message names, and start "
            "a new run; with the same data, configuration and code it goes on from the last checkpoint"
        )
    return None
