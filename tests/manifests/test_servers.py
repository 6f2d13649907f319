"""The servers of the manifests record a run and keep its files, and the readiness call knows when they cannot."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from minio import Minio
from minio.error import S3Error

from sightline.storage import open_store
from tests.helpers import manifests
from tests.helpers.manifests import Database, KfpStore, Objects, Process, container, environment, status
from tests.helpers.servers import free_port, wait_until

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]

SECRETS = {
    "sightline-s3": {"AWS_ACCESS_KEY_ID": "sightline-key", "AWS_SECRET_ACCESS_KEY": "sightline-secret"},
    "sightline-postgres": {"POSTGRES_PASSWORD": "p@ss/wo:rd #1%"},
}


@pytest.fixture(scope="module")
def objects() -> Objects:
    """What the overlay for a laptop's cluster installs."""
    return manifests.rendered(manifests.ROOT / "manifests" / "overlays" / "cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KfpStore]:
    """KFP's SeaweedFS."""
    server = KfpStore(tmp_path_factory.mktemp("seaweedfs"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def bucket(objects: Objects, store: KfpStore) -> str:
    """What the Job that makes bucket and user said, the second time; KFP's store holds both."""
    job = container(objects, "Job", "sightline-bucket")
    variables = environment(objects, job, SECRETS) | {"SEAWEEDFS_MASTER": store.master, "HOME": str(store.log.parent)}
    for _ in range(2):
        command = [*job["command"], *job["args"]]
        done = subprocess.run(command, env={"PATH": manifests.PATH, **variables}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def database(objects: Objects) -> Iterator[Database]:
    """The StatefulSet's PostgreSQL; a socket's path has to be short."""
    postgres = container(objects, "StatefulSet", "sightline-postgres")
    with tempfile.TemporaryDirectory(prefix="sightline-postgres-", dir="/tmp") as folder:
        server = Database(Path(folder), postgres, environment(objects, postgres, SECRETS))
        yield server
        server.stop()


class Tracking(Process):
    """The Deployment's MLflow server."""

    def __init__(self, folder: Path, objects: Objects, store: KfpStore, database: Database) -> None:
        """Start it with its arguments and variables; only addresses are those of this machine."""
        mlflow = container(objects, "Deployment", "sightline-mlflow")
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        here = {"--host=0.0.0.0": "--host=127.0.0.1", "--port=5000": f"--port={self.port}"}
        assert here.keys() < set(mlflow["args"])
        variables = environment(objects, mlflow, SECRETS)
        drivers = folder.parent / f"{folder.name}-drivers"
        manifests.s3_driver(drivers)
        variables["PYTHONPATH"] = str(drivers)
        variables |= {"PGHOST": "127.0.0.1", "PGPORT": str(database.port), "MLFLOW_S3_ENDPOINT_URL": store.address}
        self.probe = mlflow["readinessProbe"]["httpGet"]
        (self.host,) = [each["value"] for each in self.probe["httpHeaders"]]
        command = [*mlflow["command"], *(here.get(each, each) for each in mlflow["args"])]
        super().__init__(command, folder, variables, start_new_session=True)
        wait_until(lambda: self.ready() == 200, self.process, seconds=240, log=self.log)

    def ready(self) -> int:
        """What the readiness call gets."""
        return status(self.address + self.probe["path"], self.host)

    def stop(self) -> None:
        """End it with its workers."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def tracking(
    objects: Objects, store: KfpStore, bucket: str, database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tracking]:
    """An MLflow server on that database, whose artifacts go to that bucket."""
    pytest.importorskip("psycopg2", reason="MLflow's driver psycopg2 is not installed: make install")
    server = Tracking(tmp_path_factory.mktemp("mlflow"), objects, store, database)
    yield server
    server.stop()


def client(store: KfpStore) -> Minio:
    """A client of the store with the keys of the manifests' user."""
    keys = SECRETS["sightline-s3"].values()
    return Minio(store.address.removeprefix("http://"), *keys, secure=False, region="us-east-1")


def test_the_user_has_our_bucket_and_no_other(objects: Objects, store: KfpStore, bucket: str, tmp_path: Path) -> None:
    assert "user sightline may use bucket sightline" in bucket
    assert "sightline-secret" not in bucket
    with pytest.raises(S3Error, match="AccessDenied"):
        list(client(store).list_objects("mlpipeline"))
    with pytest.raises(S3Error, match="AccessDenied"):
        client(store).fput_object("mlpipeline", "mine", __file__)
    assert not any(each.name == "mlpipeline" for each in client(store).list_buckets())


def test_a_store_opens_by_the_settings_of_the_config_map(
    objects: Objects, store: KfpStore, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = manifests.named(objects, "ConfigMap", "sightline")["data"]
    for name, value in {**settings, **SECRETS["sightline-s3"], "SIGHTLINE_S3_ENDPOINT": store.address}.items():
        monkeypatch.setenv(name, value)
    ours = open_store(settings["SIGHTLINE_STORE"])
    ours.put_bytes("a/document.json", b"{}")
    assert ours.get_bytes("a/document.json") == b"{}"


@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")
def test_a_run_and_its_files_go_through_the_servers(
    tracking: Tracking, store: KfpStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.address)  # the client has no keys to the bucket
    mlflow = MlflowClient(tracking.address)
    run = mlflow.create_run(mlflow.create_experiment("manifests")).info
    mlflow.log_metric(run.run_id, "map50", 0.75)
    (tmp_path / "model.onnx").write_bytes(b"weights")
    mlflow.log_artifact(run.run_id, str(tmp_path / "model.onnx"))
    assert mlflow.get_run(run.run_id).data.metrics == {"map50": 0.75}
    down = download_artifacts(run_id=run.run_id, artifact_path="model.onnx", dst_path=str(tmp_path / "down"))
    assert Path(down).read_bytes() == b"weights"
    kept = [each.object_name for each in client(store).list_objects("sightline", prefix="mlflow/", recursive=True)]
    assert [name for name in kept if name.endswith(f"{run.run_id}/artifacts/model.onnx")]
    # its root file system is read-only in a pod: it may write below /tmp only
    assert [path.name for path in tracking.log.parent.iterdir()] == ["server.log"]


def test_it_answers_under_the_name_of_its_service_and_to_no_other(tracking: Tracking) -> None:
    names = ("sightline-mlflow:5000", "sightline-mlflow.kubeflow:5000", "sightline-mlflow.kubeflow.svc.cluster.local")
    path = tracking.address + tracking.probe["path"]
    assert [status(path, name) for name in (*names, "elsewhere.example")] == [200, 200, 200, 403]


def test_the_readiness_call_fails_without_the_database_while_health_says_ok(
    tracking: Tracking, database: Database
) -> None:
    assert (tracking.ready(), status(f"{tracking.address}/health", tracking.host)) == (200, 200)
    database.stop()
    try:
        assert tracking.ready() >= 500
        assert status(f"{tracking.address}/health", tracking.host) == 200
    finally:
        database.start()
    wait_until(lambda: tracking.ready() == 200, tracking.process, seconds=60, log=tracking.log)
