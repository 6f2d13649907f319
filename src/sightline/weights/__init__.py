"""Starting weights: found, known to be a detector before anything loads them, and pinned to a sha256 in the store."""

from __future__ import annotations

from sightline.weights.finding import Checkpoint, FoundWeights, find, pin
from sightline.weights.official import model_size

__all__ = ["Checkpoint", "FoundWeights", "find", "model_size", "pin"]
