"""Event files as TensorBoard itself reads them."""

from __future__ import annotations

from pathlib import Path


def points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return step and value of every point in the event files of a folder, by tag, in the order of the files."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.glob("*tfevents*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                number = float(tensor_util.make_ndarray(value.tensor))
                found.setdefault(value.tag, []).append((event.step, number))
    return found
