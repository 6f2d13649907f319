"""The event files of runs, gathered in one folder that TensorBoard reads: each run under its id.

    <folder>/<run>/events.out.tfevents.…    a link to the file of a run on this machine, or a copy out of the store

A run on a cluster pushes its file with its checkpoints while it trains; once it has trained, the file is among those
of its stage.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Protocol

from sightline.documents import TrainDocument
from sightline.errors import StageInputError
from sightline.run_store import RunStore
from sightline.storage import MissingObject, fetch_uri
from sightline.train import event_file, pushed
from sightline.why.training import key_of_run

STAGE = "train"


class Source(Protocol):
    """Where the event files of some runs come from."""

    def refresh(self, folder: Path) -> int:
        """Bring a folder up to date, and return how many runs have curves there now. Raises StorageError."""


class LocalRuns:
    """The runs below a folder, or some of them."""

    def __init__(self, runs: Path, only: str | None = None) -> None:
        """Show all runs below `runs`, also those that come later, or the one that is called `only`.

        Raises StageInputError if that one trained without curves.
        """
        self.runs, self.only = runs, only
        if only and not self._files(runs / only) and (runs / only / STAGE / TrainDocument.file_name()).exists():
            raise _without(str(runs / only))

    def refresh(self, folder: Path) -> int:
        """Link the files that are there now, and remove links to those that are gone."""
        found = [self.runs / self.only] if self.only else sorted(path for path in self.runs.glob("*") if path.is_dir())
        with_curves = [run for run in found if (files := self._files(run)) and _links(folder / run.name, files)]
        return len(with_curves)

    @staticmethod
    def _files(run: Path) -> list[Path]:
        return event_file.files(run / STAGE / event_file.FOLDER)


def _links(folder: Path, files: Iterable[Path]) -> bool:
    folder.mkdir(exist_ok=True)
    wanted = {path.name: path for path in files}
    for link in folder.iterdir():
        if link.name not in wanted:
            link.unlink()
    for name, path in wanted.items():
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(os.path.abspath(path))  # noqa: PTH100 - a link in it is not followed
    return True


class StoredRun:
    """A run of which the store has something."""

    def __init__(self, run: RunStore) -> None:
        """Show this run."""
        self.run, self._complete = run, False

    def refresh(self, folder: Path) -> int:
        """Copy what the store has now.

        Raises StorageError, and StageInputError if the run trained without curves.
        """
        into = folder / self.run.run_id
        if self._complete:
            return 1
        if record := self.run.record(STAGE):
            named = {name: file for name, file in record.files.items() if name.startswith(f"{event_file.FOLDER}/")}
            if not named:
                raise _without(f"the run {self.run.run_id}")
            for name, file in named.items():
                fetched = fetch_uri(file.uri, folder.with_name("fetched") / name, file.sha256)
                _put(into, PurePosixPath(name).name, fetched.read_bytes())
            self._complete = True
            return 1
        if key := key_of_run(self.run.store, self.run.run_id):
            for name in pushed.contents(self.run.store, key).events[:1]:
                try:
                    _put(into, PurePosixPath(name).name, self.run.store.get_bytes(name))
                except MissingObject:  # a newer one has just come
                    continue
        return 1 if into.is_dir() else 0


def _put(folder: Path, name: str, data: bytes) -> None:
    """Make a file the only one of a folder. What it had is not written again: TensorBoard reads on behind that."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    before = path.read_bytes() if path.exists() else b""
    if not data.startswith(before):
        path.unlink()
        before = b""
    with path.open("ab") as file:
        file.write(data[len(before) :])
    for other in folder.iterdir():
        if other != path:
            other.unlink()


def _without(run: str) -> StageInputError:
    return StageInputError(
        f"{run} has trained and has no curves for TensorBoard: it ran with train.tensorboard=false, or with an earlier "
        "version."
    )
