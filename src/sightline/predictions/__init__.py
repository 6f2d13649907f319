"""What the shipped file found in every image of a split, kept as columns: metrics, gallery and page come from it.

`columns` documents the file, `storing` says where it is kept and when it is believed.
"""

from __future__ import annotations

from sightline.predictions.columns import COLUMNS, FILE, Errors, Header, Offsets, Predictions, read
from sightline.predictions.storing import load, put_back, write

__all__ = [
    "COLUMNS",
    "FILE",
    "Errors",
    "Header",
    "Offsets",
    "Predictions",
    "load",
    "put_back",
    "read",
    "write",
]
