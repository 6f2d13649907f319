"""Bytes to store: noise that nothing compresses, and its digest."""

from __future__ import annotations

import hashlib
import random

MIB = 1 << 20


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
