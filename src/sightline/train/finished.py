"""What lies outside of this machine when a training is done: its result, for all who want the same training."""

from __future__ import annotations

from typing import Protocol

from sightline.documents import TrainDocument


class Results(Protocol):
    """Where the result of one training is kept for every run that wants the same."""

    def finished(self) -> TrainDocument | None:
        """Return what another process made of this training by now; None if it is not finished. Raises StorageError."""

    def keep(self) -> None:
        """Keep the result, which lies in the stage's folder. Called while no one else may train the same.

        Raises StorageError.
        """


class FinishedElsewhere(Exception):
    """Another process finished the training for which this one waited."""

    def __init__(self, document: TrainDocument) -> None:
        """Carry the document of the finished training; its files lie where `Results` keeps them."""
        self.document = document
        super().__init__("finished in another process")
