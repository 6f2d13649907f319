"""The page of a run, made from the folders of its stages."""

from __future__ import annotations

from pathlib import Path

from sightline.documents import ErrorReport
from sightline.pages.run_page import render
from sightline.summary import summarise

STARTED = "2026-11-21T08:07:11+00:00"


def page(folders: dict[str, Path], error: ErrorReport | None = None, **options: object) -> str:
    result = summarise(run_id="r1", folders=folders, started_at=STARTED, error=error)
    return render(result, folders, **options)  # type: ignore[arg-type]
