"""One training for all runs that want the same: taken from the store if it is finished, and kept there once it is."""

from __future__ import annotations

from sightline.config import TrainConfig
from sightline.documents import TrainDocument, WeightsReference
from sightline.documents.stage_record import StageRecord
from sightline.run_store import finished_training, keep_training
from sightline.runtime import progress
from sightline.task_frame import Task

DOCUMENT = TrainDocument.file_name()


class SharedTraining:
    """A training by its key, as the run of a task wants it. `record` is its result, from when it is finished or kept.

    Whoever waits for another process that trains the same asks `finished`. The one that trains calls `keep` before it
    lets go of the training, so that those who waited find the result, and before it removes its checkpoints, so that a
    pod that is lost in between costs nothing.
    """

    record: StageRecord | None = None

    def __init__(
        self, this: Task, key: str, *, snapshot: str, weights: WeightsReference, config: TrainConfig, fresh: bool
    ) -> None:
        """Look for nothing yet; if `fresh`, what is finished now does not count. Raises StorageError."""
        self.task, self.key = this, key
        self.snapshot, self.weights, self.config = snapshot, weights, config
        self.earlier = finished_training(this.store, key) if fresh else None

    def finished(self) -> TrainDocument | None:
        """Return the document of the finished training as this run has it; None if there is none. Raises StorageError.

        Its data and weights may have another name in the run that trained.
        """
        found = finished_training(self.task.store, self.key)
        if found is None or found == self.earlier:
            return None
        document = TrainDocument.model_validate(found.documents[DOCUMENT])
        document = document.model_copy(update={"snapshot": self.snapshot, "weights": self.weights.start})
        print(f"The same training was done before, in the run {found.run_id}; its result is taken from the store.")
        progress.emit("note", stage="train", note=f"taken from the store: run {found.run_id} did the same training")
        self.record = found.model_copy(
            update={"documents": {DOCUMENT: document.model_dump(mode="json", by_alias=True)}}
        )
        return document

    def keep(self) -> None:
        """Send the result of this task to the store, where every run finds it by its key. Raises StorageError.

        A training that came down to smaller images, or was cut short by `max_hours`, is another model than the one that
        was asked for: it is this run's result, and no other run's.
        """
        self.record = self.task.record()
        trained = TrainDocument.model_validate(self.record.documents[DOCUMENT])
        if trained.config.image_size == self.config.image_size and not trained.cut_short:
            keep_training(self.task.store, self.key, self.record)
