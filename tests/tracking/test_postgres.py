"""An MLflow server with its database in PostgreSQL, as laboratories run it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline import register, report
from sightline.documents import EvaluateDocument, read
from sightline.errors import TrackingError
from sightline.tracking import check
from tests.helpers.documents import train, write_run
from tests.helpers.postgres import Postgres, postgres_serving, programs
from tests.helpers.servers import mlflow_serving

pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; the test skips where there is none."""
    installed = programs()
    if installed is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    pytest.importorskip("psycopg2", reason="the driver psycopg2 is not installed: make install")
    with postgres_serving(installed) as server:
        yield server


@pytest.mark.slow
def test_a_run_is_recorded_and_registered_once_and_a_database_that_is_away_is_known(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    folders = write_run(tmp_path)
    with mlflow_serving(tmp_path, database=postgres.uri) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert check.of_server(address, "sightline", "detector") == []
        for _ in range(2):
            recorded = report.run(run_id="r1", folders=folders, out=tmp_path / "report")
        registered = register.run(
            run_id="r1", folders={**folders, "report": tmp_path / "report"}, out=tmp_path / "register"
        )
        mlflow = MlflowClient(address)
        (run,) = mlflow.search_runs(["1"])
        assert (run.info.run_id, run.data.tags["sightline.status"]) == (recorded.run_id, "registered")
        losses = mlflow.get_metric_history(recorded.run_id, "train/box_loss")
        assert [(point.step, point.value) for point in losses] == [(e.epoch, e.box_loss) for e in train().history]
        version = mlflow.get_model_version_by_alias(registered.model_name, "candidate")
        model = Path(download_artifacts(f"models:/{version.name}@candidate", dst_path=str(tmp_path / "down")))
        scored = read(EvaluateDocument, folders["evaluate"]).onnx_sha256
        assert hashlib.sha256((model / "model.onnx").read_bytes()).hexdigest() == scored

        assert check.of_database(postgres.uri) == []
        postgres.stop()
        away = f"MLflow at {address} cannot be used: its API answers 503: (psycopg2.OperationalError) connection to"
        (problem,) = check.of_server(address, "sightline", "detector")
        assert problem.startswith(away)
        (direct,) = check.of_database(postgres.uri)
        assert direct.startswith("The tracking database postgresql+psycopg2:///postgres cannot be used: its database")
        with pytest.raises(TrackingError, match=r"Nothing is lost: run this stage again\.") as caught:
            report.run(run_id="r1", folders=folders, out=tmp_path / "report")
        assert caught.value.message.startswith(away)
        postgres.start()
        assert report.run(run_id="r1", folders=folders, out=tmp_path / "report").run_id == recorded.run_id
