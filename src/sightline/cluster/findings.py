"""What a check of a cluster finds: a line each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem", "unknown"]  # unknown: it could not be asked, and nothing is guessed


@dataclass(frozen=True)
class Finding:
    """What a check found, in words for people."""

    check: str
    level: Level
    words: str


def ok(check: str, words: str) -> Finding:
    """Return what is as it should be."""
    return Finding(check, "ok", words)


def warning(check: str, words: str) -> Finding:
    """Return what may stop a run, or will do so at times."""
    return Finding(check, "warning", words)


def problem(check: str, words: str) -> Finding:
    """Return what stops a run."""
    return Finding(check, "problem", words)


def unknown(check: str, words: str) -> Finding:
    """Return what could not be asked."""
    return Finding(check, "unknown", words)
