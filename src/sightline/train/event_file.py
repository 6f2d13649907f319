"""The event file of a training: its curves as TensorBoard reads them, one point an epoch.

    tensorboard/events.out.tfevents.<seconds since 1970>.<attempt>

Each attempt writes the whole file again, out of the rows that its checkpoint keeps, and puts it in place of the one
before: no epoch is in it twice, and what an attempt wrote after its last checkpoint is gone. It has a name of its own
and begins with the start of a session, so a TensorBoard that is open drops what it had read of the other one.

Tags are the engine's names of columns. Needs the package `tensorboard`, and neither torch nor TensorFlow.
"""

from __future__ import annotations

import importlib.util
import io
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sightline.atomic import write_bytes
from sightline.errors import ConfigError
from sightline.train.history import Measured, Row

FOLDER = "tensorboard"
PREFIX = "events.out.tfevents."
NO_CURVES = ("epoch", "time")  # columns that say where a point lies
SPEED, MEMORY = "speed/images_per_second", "memory/gigabytes"


def check() -> None:
    """Raise ConfigError if the package is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError(
            "train.tensorboard: the package tensorboard is not installed here. Install Sightline with its extra "
            "'train', or set train.tensorboard=false."
        )


def files(folder: Path) -> list[Path]:
    """Return the event files in a folder, the newest last."""
    return sorted(path for path in folder.glob(f"{PREFIX}*") if path.is_file())


class EventFile:
    """The file that one attempt writes."""

    def __init__(self, folder: Path, attempt: str) -> None:
        """Write into `folder`; `attempt` is a name that no other attempt of the training has."""
        self.path = folder / f"{PREFIX}{int(time.time()):010}.{attempt}"

    def begin(self, rows: Sequence[Row], measured: Sequence[Measured]) -> None:
        """Write the file with the epochs so far, and remove those of earlier attempts. Raises StorageError."""
        write_bytes(self.path, _records([*_opening(), *map(_point, rows, measured)]))
        for path in files(self.path.parent):
            if path != self.path:
                path.unlink()

    def add(self, row: Row, taken: Measured) -> None:
        """Append the point of an epoch. Raises OSError."""
        with self.path.open("ab") as file:
            file.write(_records([_point(row, taken)]))


def _opening() -> list[Any]:
    """Return the events that every file begins with: the format, and that what was read before no longer holds."""
    from tensorboard.compat.proto import event_pb2

    now = time.time()
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    return [
        event_pb2.Event(wall_time=now, file_version="brain.Event:2"),
        event_pb2.Event(wall_time=now, step=0, session_log=start),
    ]


def _point(row: Row, taken: Measured) -> Any:
    """Return the event of an epoch, at the moment when it ended; what is not finite has no point."""
    from tensorboard.compat.proto import event_pb2, summary_pb2

    values = {name: value for name, value in row.items() if name not in NO_CURVES and value is not None}
    values |= {SPEED: taken.images_per_second, MEMORY: taken.memory_bytes / 1e9}
    return event_pb2.Event(
        wall_time=datetime.fromisoformat(taken.ended_at).timestamp(),
        step=int(row["epoch"] or 0),
        summary=summary_pb2.Summary(
            value=[summary_pb2.Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        ),
    )


def _records(events: Iterable[Any]) -> bytes:
    from tensorboard.summary.writer.record_writer import RecordWriter

    made = io.BytesIO()
    writer = RecordWriter(made)
    for event in events:
        writer.write(event.SerializeToString())
    return made.getvalue()
