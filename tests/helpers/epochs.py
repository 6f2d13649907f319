"""What an epoch took, where a test needs some of it and does not care what."""

from __future__ import annotations

from sightline.documents import Seconds
from sightline.train.history import Measured

MEASURED = Measured(
    ended_at="2026-11-21T08:00:00.000+00:00",
    images_per_second=40.0,
    memory_bytes=1 << 30,
    spent=Seconds(data=1.0, transfer=0.0, compute=6.0, validation=1.0, checkpoint=0.4, other=0.1),
)
