"""Sends the epochs of a training to MLflow while it goes on, in a thread that nothing waits for.

An epoch is sent once its checkpoint is kept where the training would go on from: then it is not trained a second time,
with other times, and what the server has stays right. So what waits for a server that is away needs no place of its
own: each checkpoint's manifest has all epochs so far. After an outage, and by another process, all are sent again: the
server drops the points that it has. Report does the same at the end, out of the same epochs.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator, Sequence

from sightline.config import TrainConfig
from sightline.documents import Epoch, ValidateDocument
from sightline.errors import SightlineError
from sightline.run_store import RunStore
from sightline.runtime import progress
from sightline.tracking import address, records, server
from sightline.train import history
from sightline.train.checkpoints import Manifest

RETRY = 30.0  # seconds until epochs that could not be sent are tried again; new ones are tried at once
PATIENCE = 20.0  # seconds for the last epochs, when training is over


def tracked(run: RunStore, run_id: str) -> records.PipelineRun | None:
    """Return a run of the pipeline, by what validate left, as its report will put it on record.

    None where no server takes records until then. The run's name on a cluster is a parameter of its report, and would
    end the caching of other tasks: here it is the id. Raises StorageError.
    """
    record = run.record("validate") if address.server_uri() else None
    if record is None:
        return None
    validated = ValidateDocument.model_validate(record.documents[ValidateDocument.file_name()])
    return records.PipelineRun(run_id, run_id, validated.started_at, validated.config)


@contextlib.contextmanager
def tracking(run: records.PipelineRun | None, config: TrainConfig) -> Iterator[Tracker | None]:
    """Track the training of the block; without a run, or a server to send to, yield None.

    When the block ends, what was offered has `PATIENCE` seconds to arrive, and no time at all after an interrupt.
    """
    uri = address.server_uri()
    if run is None or uri is None:
        yield None
        return
    tracker = Tracker(run._replace(config=run.config.model_copy(update={"train": config})), uri)
    patience = PATIENCE
    try:
        yield tracker
    except KeyboardInterrupt:
        patience = 0.0
        gc.freeze()  # else Python looks through all that MLflow made before it exits, which takes longer than the rest
        raise
    finally:
        tracker.end(patience)


class Tracker:
    """The thread; it loads MLflow with the first epoch."""

    def __init__(self, run: records.PipelineRun, uri: str, retry: float = RETRY) -> None:
        """Send to the MLflow run of a pipeline run, whose configuration is the one that is trained with."""
        self.run, self.uri, self.retry = run, uri, retry
        self._change = threading.Condition()
        self._offer: bytes | Sequence[Epoch] = b""
        self._offers = self._tried = self._done = 0  # counts of offers
        self._ended = self._away = False
        self._place: address.Place | None = None
        self._sent: list[tuple[int, str]] = []  # number and end of each epoch
        server.quiet_mlflow()  # here, since it changes the environment
        self._thread = threading.Thread(target=self._run, name="track-epochs", daemon=True)
        self._thread.start()

    def offer(self, epochs: bytes | Sequence[Epoch]) -> None:
        """Take all epochs so far, or the manifest of a checkpoint that has them, in place of those that still wait."""
        with self._change:
            if epochs != self._offer:
                self._offers, self._offer = self._offers + 1, epochs
                self._change.notify_all()

    def end(self, patience: float) -> None:
        """Wait so long until what was offered is sent, or could not be, and end the thread."""
        with self._change:
            self._change.wait_for(lambda: self._tried == self._offers, timeout=patience)
            self._ended = True
            self._change.notify_all()
        self._thread.join(min(patience, 1.0))

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._offers > self._done or self._ended)
                number, offer = self._offers, self._offer
            if self._ended:
                return
            try:
                self._send(_epochs(offer))
            except SightlineError as error:
                self._place, self._sent = None, []
                if not self._away:
                    progress.notice(
                        f"training goes on, but MLflow cannot be used: its epochs wait until that works again. {error}"
                    )
                self._away = True
            else:
                self._done = number
                if self._away:
                    progress.notice("MLflow can be used again, and has all epochs so far")
                self._away = False
            self._settle(number)

    def _settle(self, number: int) -> None:
        """Count an offer as tried; if it was not sent, wait for another one, or until this one is tried again."""
        with self._change:
            self._tried = number
            self._change.notify_all()
            if self._away:
                self._change.wait_for(lambda: self._offers > number or self._ended, timeout=self.retry)

    def _send(self, epochs: Sequence[Epoch]) -> None:
        """Send the epochs that are new, into a run that holds no others. Raises TrackingError and ConfigError."""
        ends = [(epoch.epoch, epoch.ended_at) for epoch in epochs]
        with server.client(self.uri, "train") as mlflow:
            if self._place is None or self._sent != ends[: len(self._sent)]:
                self._sent = []
                settled = self._settled()
                self._place = records.place(
                    mlflow,
                    self.run.run_id,
                    uri=self.uri,
                    name=self.run.name,
                    experiment=self.run.config.register_.experiment,
                    started_at=self.run.started_at,
                    parameters=settled,
                    epochs=epochs,
                )
                records.describe(mlflow, self._place, self.run.config.preset, settled)
            records.send(mlflow, self._place, records.history(epochs[len(self._sent) :]))
        self._sent = ends

    def _settled(self) -> dict[str, str]:
        """Return the parameters that no recovery changes any more, since MLflow never changes one."""
        values = records.parameters(self.run.config)
        if self.run.config.train.recover == "all":
            del values["train.image_size"]
        return values


def _epochs(offer: bytes | Sequence[Epoch]) -> Sequence[Epoch]:
    if not isinstance(offer, bytes):
        return offer
    manifest = Manifest.model_validate_json(offer)
    return history.epochs(manifest.rows, manifest.measured)
