"""The folder of what a training keeps of its data: nobody else may have written into it, since a part is a pickle."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path


def is_own(folder: Path) -> bool:
    """Make a folder if there is none, and tell whether this user alone can have written into it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.lstat()
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.geteuid()
        and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def made_own(folder: Path) -> bool:
    """Make a folder that is not ours alone anew, such as one whose volume was given to a group; tell whether it is."""
    with contextlib.suppress(FileExistsError):
        if is_own(folder):
            return True
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(FileExistsError):
        return is_own(folder)
    return False
