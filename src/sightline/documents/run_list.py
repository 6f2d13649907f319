"""The newest runs: what `sightline runs --json` prints."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sightline.documents.base import Part, Score, Verdict
from sightline.documents.summary import Status

Place = Literal["store", "folder", "mlflow"]


class RunCause(Part):
    """Why a run ended as it did."""

    kind: str = Field(description="A word for it: the cause's, or the error's where none was found.")
    sentence: str | None = Field(description="The same in a sentence; null where only the word was kept.")


class RunLine(Part):
    """One run, in short."""

    run_id: str
    name: str | None
    model_name: str | None = Field(description="Null where the run ended before that was known.")
    status: Status | None = Field(description="Null without a summary: it goes on, or ended without its last task.")
    verdict: Verdict | None = Field(description="The score gate's; null where none was reached.")
    cause: RunCause | None
    started_at: str = Field(description="ISO 8601, UTC.")
    finished_at: str | None
    seconds: float | None = Field(description="From its start to its end.")
    waiting_seconds: float | None = Field(description="For which its pods waited for nodes, as far as that is known.")
    gpu_hours: float | None = Field(description="GPUs that it asked for, times hours; null outside clusters.")
    map50_95: Score | None = Field(description="Mean AP over IoU 0.50 to 0.95 on the test split.")
    version: str | None = Field(description="Model version that it registered, as far as known.")
    found_in: Place = Field(description="Where this was read: the summary in store or folder, else MLflow's tags.")


class RunSource(Part):
    """A place that was asked for runs."""

    place: Place
    address: str | None = Field(description="Its address, without credentials.")
    problem: str | None = Field(description="Why it was not asked, or could not be; null otherwise.")
    unreadable: int = Field(0, description="Runs that it has and that are not listed: of another version, or damaged.")

    @property
    def asked(self) -> str | None:
        """Its address, if it answered: what is said of its runs is true."""
        return None if self.problem else self.address

    @property
    def note(self) -> str | None:
        """What a reader of the list has to know of this place; None if it gave all that it has."""
        named = {"store": "the store", "folder": "the folder of runs", "mlflow": "MLflow"}[self.place]
        where = f"{named} {self.address}" if self.address else named
        if self.problem:
            return (
                f"{where} was not asked: {self.problem}"
                if not self.address
                else f"{where} cannot be asked: {self.problem}"
            )
        if self.unreadable:
            return f"{where} has runs that are not listed: {self.unreadable} of another version, or damaged"
        return None


class RunList(Part):
    """The newest runs first, by their start."""

    model_name: str | None = Field(description="Only runs of this model were asked for.")
    runs: list[RunLine]
    sources: list[RunSource]
