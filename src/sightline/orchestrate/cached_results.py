"""Reuses results of earlier runs only while their files are, byte for byte, what the task wrote.

kfp's local cache points at files of earlier runs, which people move, edit and damage, and checks only that they exist.
So each entry gets a list of its files with their sha256. An entry whose files no longer match it, or name others that
the store no longer has, is ignored, and the task runs again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sightline.atomic import write_text
from sightline.documents.stage_record import read_records
from sightline.errors import SightlineError, StageInputError
from sightline.run_store import missing
from sightline.runtime import progress
from sightline.storage import sha256_file

SUFFIX = ".files"  # of the list beside an entry


def verify_cached_files() -> None:
    """Make kfp's local cache check the files of a result before it is reused."""
    from kfp import dsl
    from kfp.local import cache

    class VerifiedCache(cache.LocalCache):  # type: ignore[misc]
        """kfp's cache, without entries whose files changed."""

        def compute_key(self, component_name: str, *arguments: Any, **named: Any) -> str:
            key = str(super().compute_key(component_name, *arguments, **named))
            self._stages[key] = component_name.removeprefix("comp-")
            return key

        def __init__(self, cache_root: str) -> None:
            super().__init__(cache_root)
            self._stages: dict[str, str] = {}

        def get(self, key: str) -> dict[str, Any] | None:
            entry = Path(self._entry_path(key))
            if not entry.exists():
                return None
            if (problem := _problem(entry)) is None:
                try:
                    if (outputs := super().get(key)) is not None:
                        return dict(outputs)
                    problem = "its record is damaged, or a file is gone"
                except (ValueError, TypeError, AttributeError):
                    problem = "its record is damaged"
            stage = self._stages.get(key, "")
            note = f"was done before, but {problem}; done again"
            print(f"{stage} {note}", flush=True)
            progress.emit("note", stage=stage, note=note)
            return None

        def put(self, key: str, outputs: dict[str, Any]) -> None:
            folders = [Path(value.uri) for value in outputs.values() if isinstance(value, dsl.Artifact)]
            entry = Path(self._entry_path(key))
            entry.unlink(missing_ok=True)  # so that no record ever stands beside another's list
            write_text(entry.with_suffix(SUFFIX), json.dumps(_digests(folders)))
            super().put(key, outputs)

    cache.LocalCache = VerifiedCache


def _gone(artifact: Path) -> str | None:
    """Say which of the files that an artifact names the store no longer has as they were; None if it has all."""
    try:
        records = read_records(artifact)
    except (OSError, StageInputError):  # no such artifact
        return None
    try:
        return next((problem for record in records.values() if (problem := missing(record))), None)
    except SightlineError as error:
        return f"the store cannot be asked for its files ({error})"


def _digests(places: list[Path]) -> dict[str, str]:
    """Return the sha256 of every file at or below `places`."""
    files = [file for place in places for file in (place.rglob("*") if place.is_dir() else [place])]
    return {str(file): sha256_file(file) for file in files if file.is_file()}


def _problem(entry: Path) -> str | None:
    """Say what is wrong with the files on an entry's list; None if nothing is."""
    try:
        expected = dict(json.loads(entry.with_suffix(SUFFIX).read_bytes()))
    except (OSError, ValueError, TypeError):
        return "the list of its files is gone"
    for name, digest in expected.items():
        if problem := _gone(Path(name)):
            return problem
        try:
            found = sha256_file(Path(name))
        except FileNotFoundError:
            return f"{name} is gone"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
        if found != digest:
            return f"{name} was changed or damaged"
    return None
