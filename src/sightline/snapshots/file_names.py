"""File names in the canonical layout."""

from __future__ import annotations

import re

UNSAFE = re.compile(r"[^A-Za-z0-9 ._()+=@,-]")
LONGEST = 160  # characters of a name, under what any file system takes


def plain_name(stem: str) -> str:
    """Return a file name without its suffix in characters that every file system, archive and tool takes.

    It is the stem itself where that is plain and not too long. Otherwise, and where two of a split are then equal but
    for case, the caller makes it unique again, by digits of the image's sha256.
    """
    return UNSAFE.sub("_", stem)[:LONGEST]
