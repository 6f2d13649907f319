"""The whole pipeline against real servers: data and snapshots in S3, tracking and registry on an MLflow server."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.datasets.synthetic import draw
from sightline.storage import Transfer, open_store

pytestmark = [
    pytest.mark.timeout(300),
    # Of MLflow's own making, at import.
    pytest.mark.filterwarnings("ignore:Any type hint is inferred as AnyType:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def test_same_pipeline_on_s3_and_an_mlflow_server(
    s3: str, mlflow_server: str, command: Callable, tmp_path: Path
) -> None:
    drawn = draw(tmp_path / "drawn")
    files = [path for path in drawn.rglob("*") if path.is_file()]
    open_store(f"s3://{s3}/smears").upload([Transfer(str(path.relative_to(drawn)), path) for path in files])
    done = command(
        *("run", "--json", "--run-id", "remote", "--data", f"s3://{s3}/smears", "--preset", "quickstart"),
        *(
            "--set",
            "train.epochs=1",
            "--set",
            "train.image_size=32",
            "--set",
            "train.batch=16",
            "--set",
            "gate.min_map50=null",
        ),
        *("--set", "register.model_name=remote-smear"),
        cwd=tmp_path,
        SIGHTLINE_STORE=f"s3://{s3}/store",
        MLFLOW_TRACKING_URI=mlflow_server,
    )
    summary = json.loads(done.stdout)
    assert done.returncode == 0, summary["error"]
    assert summary["register"]["tracking_uri"] == mlflow_server
    assert summary["data"]["images"] == {"train": 144, "val": 32, "test": 40}
    keys = [key for key, _ in open_store(f"s3://{s3}/store").list()]
    assert sum(key.startswith("packs/") for key in keys) == 3
    assert [key for key in keys if key.startswith("snapshots/")] == [
        summary["data"]["snapshot"].removeprefix(f"s3://{s3}/store/") + "/manifest.json"
    ]
    assert not (tmp_path / "runs" / "mlflow.db").exists()
    assert not (tmp_path / "runs" / "store").exists()

    import mlflow

    client = mlflow.MlflowClient(mlflow_server)
    version = client.get_model_version_by_alias("remote-smear", "candidate")
    assert version.tags["sightline.onnx_sha256"] == summary["export"]["sha256"]
    assert version.run_id == summary["register"]["run_id"]

    # Credentials are in the environment and nowhere else.
    for path in (tmp_path / "runs").rglob("*"):
        if path.is_file():
            assert b"test-secret" not in path.read_bytes(), path
