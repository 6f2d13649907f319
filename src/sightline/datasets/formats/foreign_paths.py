"""What a path that somebody else wrote can mean here: on another machine, or in a folder of another name.

A data set is moved with its last folders as they are, so the longest end of a path that exists is meant. It is taken
where it can mean one place only, and where it keeps the word that names the split: `/content/set/train/images` may be
`train/images`, never `images`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sightline.datasets.types import split_of
from sightline.documents import Split

ENDS = 8  # last parts of a path that may be all that is right about it
DRIVE = re.compile(r"(?:file://)?(?:[A-Za-z]:(?=[/\\]))?")


def slashed(path: str) -> str:
    """Return a path of Windows, or a file URI, as one writes it here."""
    return path[DRIVE.match(path).end() :].replace("\\", "/")  # type: ignore[union-attr]


def parts(path: str) -> list[str]:
    """Return the folders and the name in a path; of `..` and `.` only those behind a name."""
    result = [part for part in slashed(path).split("/") if part not in ("", ".")]
    while result and result[0] == "..":
        del result[0]
    return result


def ends(path: str) -> Iterator[str]:
    """Yield a path without what leads out of its folder, then its ends, the longest first."""
    found = parts(path)
    inside = len(found) - next((index for index, part in enumerate(reversed(found)) if part == ".."), len(found))
    for start in range(max(inside, len(found) - ENDS), len(found)):
        yield "/".join(found[start:])


def tails(path: str) -> Iterator[str]:
    """Yield a path as it is written, then its ends."""
    yield path
    yield from (end for end in ends(path) if end != path)


def split_in(path: str) -> Split | None:
    """Return the split that the folders and the name in a path name: the innermost that does."""
    return next((split for part in reversed(parts(path)) if (split := split_of(part))), None)


def foreign(path: str) -> bool:
    """Tell a path that was written for another place: an absolute one, or one of Windows."""
    return path.startswith(("/", "~", "file:")) or "\\" in path or slashed(path) != path
