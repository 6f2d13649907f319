"""Where trainings work: the folder of all work folders, and whether it can be used."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path

from sightline.errors import FULL, ConfigError, StorageUsageError
from sightline.storage import cache_root

VARIABLE = "SIGHTLINE_WORK"
ELSEWHERE = f"set {VARIABLE} (where trainings work) or --runs (where results go) to a folder elsewhere, and run again"


def work_root(runs: Path | None = None) -> Path:
    """Return the folder of all work folders: `SIGHTLINE_WORK`, or `work` in the folder of runs, or in the cache.

    The folder of runs is `runs`, by default `SIGHTLINE_RUNS`, which a pod of a pipeline does not have. A relative
    `SIGHTLINE_WORK` counts from the working directory. Raises ConfigError for one in the home of an unknown user.
    """
    if named := os.environ.get(VARIABLE):
        path = os.path.expanduser(named)  # noqa: PTH111 - Path's raises for a user that does not exist
        if path.startswith("~"):
            raise ConfigError(
                f"{VARIABLE}: got '{named}', and there is no user '{named.partition('/')[0][1:]}'. Choose another "
                "folder (./~name for one that begins with ~)."
            )
        return Path(path).absolute()
    if runs is None and os.environ.get("SIGHTLINE_RUNS"):
        runs = Path(os.environ["SIGHTLINE_RUNS"])
    return (runs.absolute() if runs else cache_root()) / "work"


def check(root: Path) -> None:
    """See that trainings can work in a folder, without making it.

    Raises ConfigError where the engine cannot use its path, StorageUsageError where nothing can be written, or files
    cannot be locked: not every network file system supports that. A full disk is no reason: room is checked by what a
    training needs.
    """
    if "?" in str(root) or not str(root).isprintable():
        raise ConfigError(
            f"{VARIABLE}: got '{root}'; the training engine cannot use a path with '?', line breaks, or anything else "
            "that cannot be printed. Choose another folder."
        )
    try:
        # A file in the way is found by writing into it.
        with tempfile.TemporaryFile(dir=next(part for part in (root, *root.parents) if part.exists())) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in FULL:
            raise unusable(root, error) from None


def unusable(root: Path, error: OSError) -> StorageUsageError:
    """Say why trainings cannot work in a folder."""
    reason = (error.strerror or str(error)).lower()
    return StorageUsageError(
        f"The work folder {root} cannot be used: {reason}. Set {VARIABLE} to a folder that can be written, supports "
        "locks, and has room for checkpoints."
    )
