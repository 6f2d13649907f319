"""A run as its stages leave it in the store: records of real documents, without the work."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from sightline.config import RunConfig
from sightline.documents import RegisterDocument, ReportDocument, read
from sightline.documents.export import ExportDocument
from sightline.run_store import RunStore, pack
from sightline.runtime.stage_frame import NAMES
from tests.helpers.documents import write_run

MLFLOW_RUN = "9f" * 16


def leave(
    run: RunStore,
    root: Path,
    stages: Collection[str] = NAMES,
    *,
    verdict: str = "accepted",
    tracked: bool = True,
    config: RunConfig | None = None,
    done_by: Mapping[str, str] = {},
) -> dict[str, Path]:
    """Leave what `stages` made, written below `root`; `done_by` names the runs that did the work of some."""
    folders = write_run(root, verdict=verdict, config=config)
    place = ("http://127.0.0.1:5000", "sightline", MLFLOW_RUN) if tracked else (None, None, None)
    report = ReportDocument(**dict(zip(("tracking_uri", "experiment", "run_id"), place, strict=True)), seconds=2.5)
    report.write(root / "report")
    RegisterDocument(
        model_name="smear",
        version="3",
        aliases=["candidate"],
        tracking_uri="http://127.0.0.1:5000",
        run_id=MLFLOW_RUN,
        onnx_sha256=read(ExportDocument, folders["export"]).sha256,
        seconds=4.2,
    ).write(root / "register")
    for stage in stages:
        run.leave([pack(stage, root / stage, run.store, done_by.get(stage, run.run_id))])
    return {stage: root / stage for stage in stages}
