"""A real Kubeflow Pipelines on a cluster, as its users and its administrator use it, and the runs on it."""

from __future__ import annotations

import contextlib
import html
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
import yaml
from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import S3Error

from sightline.errors import ClusterError
from sightline.orchestrate import workflow
from sightline.orchestrate.follow import OVER
from sightline.orchestrate.kfp_api import Server
from sightline.tracking.address import RUN_TAG

ROOT = Path(__file__).parents[2]
KFP_STORE = "mlpipeline"  # KFP's own bucket, of its default installation
SIGHTLINE = (sys.executable, "-m", "sightline")
QUIET = {"PYTHONWARNINGS": "ignore", "NO_COLOR": "1"}
TINY = {"train.image_size": 32, "train.batch": 16}
SMALL = {"train_cpu": "500m", "train_memory": "2Gi"}
HOW = "(tests/README.md says what a cluster for tests needs)"


def overrides(**more: Any) -> str:
    """Settings of a training of seconds, for the form; `train__epochs=1` sets train.epochs."""
    return json.dumps(TINY | {name.replace("__", "."): value for name, value in more.items()})


@dataclass(frozen=True)
class Place:
    """What the environment says of a cluster for tests, and what this session calls its own."""

    namespace: str
    images: str
    host: str  # under which pods reach this machine
    s3: Mapping[str, str]  # address and keys of the store, for this machine
    s3_of_pods: str
    bucket: str
    session: str  # in the name of all that these tests make

    @property
    def store(self) -> str:
        return f"s3://{self.bucket}/{self.session}"

    @property
    def experiment(self) -> str:
        return self.session


def place(environment: Mapping[str, str], session: str) -> Place | str:
    """What the environment says, or what it lacks, in a sentence."""
    needed = ("KFP_ENDPOINT", "SIGHTLINE_IMAGES", "SIGHTLINE_TEST_CLUSTER_HOST", "SIGHTLINE_S3_ENDPOINT")
    needed = (*needed, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    if missing := [name for name in needed if not environment.get(name)]:
        return f"no cluster to test on: {', '.join(missing)} not set {HOW}"
    if not shutil.which("kubectl"):
        return f"no cluster to test on: kubectl is not on the PATH {HOW}"
    names = ("SIGHTLINE_S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
    s3 = {"AWS_REGION": "us-east-1"} | {name: environment[name] for name in names if name in environment}
    return Place(
        namespace=environment.get("SIGHTLINE_TEST_CLUSTER_NAMESPACE", "kubeflow"),
        images=environment["SIGHTLINE_IMAGES"],
        host=environment["SIGHTLINE_TEST_CLUSTER_HOST"],
        s3=s3,
        s3_of_pods=environment.get("SIGHTLINE_TEST_CLUSTER_S3") or s3["SIGHTLINE_S3_ENDPOINT"],
        bucket=environment.get("SIGHTLINE_TEST_CLUSTER_BUCKET", "sightline"),
        session=session,
    )


class Bucket:
    """A bucket of the S3 server, read and written as a person would."""

    def __init__(self, variables: Mapping[str, str], name: str) -> None:
        """Connect, with five tries at everything."""
        address = urlsplit(variables["SIGHTLINE_S3_ENDPOINT"])
        self.name = name
        self.client = Minio(
            address.netloc,
            variables["AWS_ACCESS_KEY_ID"],
            variables["AWS_SECRET_ACCESS_KEY"],
            secure=address.scheme == "https",
            region=variables["AWS_REGION"],
            http_client=urllib3.PoolManager(timeout=30, retries=5),
        )

    def make(self) -> None:
        if not self.client.bucket_exists(self.name):
            self.client.make_bucket(self.name)

    def keys(self, prefix: str) -> list[str]:
        return [str(each.object_name) for each in self.client.list_objects(self.name, prefix, recursive=True)]

    def read(self, key: str) -> bytes:
        answer = self.client.get_object(self.name, key)
        try:
            return bytes(answer.read())
        finally:
            answer.close()

    def put_folder(self, folder: Path, prefix: str) -> None:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.client.fput_object(self.name, f"{prefix}/{path.relative_to(folder).as_posix()}", str(path))

    def empty(self, prefix: str) -> None:
        left = list(self.client.remove_objects(self.name, [DeleteObject(key) for key in self.keys(prefix)]))
        assert not left, left


class Cluster:
    """The cluster, its KFP and its store."""

    def __init__(self, at: Place, folder: Path) -> None:
        """Connect; commands of this session write into `folder`."""
        self.at, self.folder = at, folder
        self.server = Server()
        self.bucket = Bucket(at.s3, at.bucket)
        self.kfp_store = Bucket(at.s3, KFP_STORE)
        self.tracking = ""  # address of MLflow, for this machine
        self.runs: list[Run] = []

    # --- as an administrator

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            ["kubectl", "-n", self.at.namespace, *arguments], input=stdin, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}\n{done.stderr}"
        return done.stdout

    def apply(self, objects: list[dict[str, Any]]) -> None:
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def remove(self, objects: list[dict[str, Any]]) -> None:
        self.kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def rendered(self, folder: Path) -> list[dict[str, Any]]:
        """The objects of a folder with a kustomization."""
        return list(yaml.safe_load_all(self.kubectl("kustomize", str(folder))))

    def label_namespace(self, label: str) -> None:
        """Set a label, or with a dash at its end take it away."""
        self.kubectl("label", "namespace", self.at.namespace, label, "--overwrite")

    def pods(self, *labels: str) -> list[dict[str, Any]]:
        return list(json.loads(self.kubectl("get", "pods", "-o", "json", "-l", ",".join(labels)))["items"])

    # --- as a user

    def variables(self, **more: str) -> dict[str, str]:
        """The environment of a user at this machine."""
        own = {
            **self.at.s3,
            "SIGHTLINE_STORE": self.at.store,
            "SIGHTLINE_IMAGES": self.at.images,
            "MLFLOW_TRACKING_URI": self.tracking,
            "KFP_EXPERIMENT": self.at.experiment,
            "KFP_SERVICE_ACCOUNT": "sightline",
        }
        return {**os.environ, **QUIET, **own, **more}

    def sightline(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*SIGHTLINE, *arguments],
            cwd=self.folder,
            env=self.variables(**environment),
            capture_output=True,
            text=True,
            check=False,
        )

    def submit(
        self,
        name: str,
        *,
        pipeline: Path | None = None,
        pending: str | None = None,
        images: str | None = None,
        **parameters: str,
    ) -> Run:
        """Start a run by `sightline submit`, and follow it from then on."""
        given = [text for item in parameters.items() for text in ("--param", "=".join(item))]
        file = ("--pipeline", str(pipeline)) if pipeline else ()
        done = self.sightline(
            "submit", "--json", "--run-name", name, *file, *given, SIGHTLINE_IMAGES=images or self.at.images
        )
        assert done.returncode == 0, done.stdout + done.stderr
        sent = json.loads(done.stdout)
        return self.followed(name, sent["run_id"], sent, pending)

    def make(self, target: str, arguments: str) -> dict[str, Any]:
        """What `make` prints as JSON; the environment of this Python is the one that it would install."""
        done = subprocess.run(
            ["make", "-s", "-o", ".venv/.installed", f"BIN={Path(sys.executable).parent}", target, f"ARGS={arguments}"],
            cwd=ROOT,
            env=self.variables(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(json.loads(done.stdout))

    def followed(self, name: str, run_id: str, sent: dict[str, Any], pending: str | None = None) -> Run:
        run = Run(self, name, run_id, sent)
        run.follow(*(("--pending", pending) if pending else ()))
        self.runs.append(run)
        return run


@dataclass
class Run:
    """A run, with `sightline submit --follow` beside it."""

    cluster: Cluster
    name: str
    run_id: str
    sent: dict[str, Any]  # what submit said
    _follower: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def _place(self) -> Path:
        return self.cluster.folder / "followed" / self.run_id

    def follow(self, *options: str) -> None:
        place = self._place
        place.mkdir(parents=True)
        with open(place / "out.json", "wb") as out, open(place / "told.txt", "wb") as told:
            self._follower = subprocess.Popen(
                [*SIGHTLINE, "submit", "--follow", self.run_id, "--json", *options],
                cwd=place,
                env=self.cluster.variables(),
                stdout=out,
                stderr=told,
            )

    def stop_following(self) -> None:
        if self._follower:
            self._follower.kill()
            self._follower.wait()

    @cached_property
    def ended(self) -> dict[str, Any]:
        """How the command saw the run end: waits for it."""
        assert self._follower
        self._follower.wait()
        text = (self._place / "out.json").read_text()
        assert text, f"{self.name}: {self.told}"
        return dict(json.loads(text))

    @property
    def exit_code(self) -> int:
        """The command's exit code, which is the run's."""
        assert self.ended
        assert self._follower
        return int(self._follower.returncode)

    @property
    def told(self) -> str:
        """What the command said on the way."""
        return (self._place / "told.txt").read_text()

    @property
    def state(self) -> str:
        return str(self.cluster.server.run(self.run_id).state)

    @property
    def summary(self) -> dict[str, Any]:
        """The summary in the store."""
        return dict(json.loads(self.left("summary.json")))

    @property
    def page(self) -> str:
        """What the page in the store says; the dashboard shows the same."""
        page = self.left("report.html")
        assert self.artifact("conclude", "page") == page
        return html.unescape(page.decode())

    def left(self, name: str) -> bytes:
        """What lies in the store under the run."""
        return self.cluster.bucket.read(f"{self.cluster.at.session}/runs/{self.run_id}/{name}")

    def artifact(self, task: str, name: str) -> bytes:
        """What a task handed to KFP, as the dashboard shows it."""
        keys = [key for key in self.cluster.kfp_store.keys("v2/artifacts/") if f"/{self.run_id}/" in key]
        (found,) = [key for key in keys if f"/{task}/" in key and key.endswith(f"/{name}")]
        return self.cluster.kfp_store.read(found)

    def statuses(self) -> dict[str, str]:
        """How each stage went, as the summary says."""
        return {stage["name"]: stage["status"] for stage in self.summary["stages"]}

    def tasks(self) -> dict[str, workflow.Task]:
        """The tasks that have begun."""
        return {task.name: task for task in workflow.tasks(self.cluster.server.workflow(self.run_id))}

    def all_pods(self) -> list[workflow.Pod]:
        """The pods that KFP took for it, drivers included."""
        return workflow.pods(self.cluster.server.workflow(self.run_id))

    def pods(self, *labels: str) -> list[dict[str, Any]]:
        return self.cluster.pods(f"pipeline/runid={self.run_id}", *labels)

    def stage_pod(self, stage: str) -> dict[str, Any] | None:
        return next(iter(self.pods(f"sightline.ml/stage={stage}")), None)

    def wait_for_work(self, stage: str, words: str) -> dict[str, Any]:
        """Wait until a stage's log has these words; returns its pod, which is at work."""
        found: list[dict[str, Any]] = []

        def at_work() -> bool:
            assert self.state not in OVER, f"{self.name}: {self.told}"
            found[:] = self.pods(f"sightline.ml/stage={stage}")
            return bool(found) and words in self._log(found[0])

        wait(at_work, f"{self.name}: {stage} at work")
        return found[0]

    def lose_pods(self, stage: str) -> None:
        """Delete the pods of a stage until the run is over: KFP repeats a task whose pod has vanished twice."""
        while self.state not in OVER:
            for pod in self.pods(f"sightline.ml/stage={stage}"):
                if pod["status"]["phase"] == "Running":
                    self.cluster.kubectl("delete", "pod", pod["metadata"]["name"], "--ignore-not-found", "--wait=false")
            time.sleep(2)

    def _log(self, pod: dict[str, Any]) -> str:
        name = pod["metadata"]["name"]
        command = ["kubectl", "-n", self.cluster.at.namespace, "logs", name, "-c", "main"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    @property
    def seconds(self) -> float:
        run = self.cluster.server.run(self.run_id)
        return float((run.finished_at - run.created_at).total_seconds()) if run.state in OVER else -1.0

    def wait_until_over(self) -> None:
        """Wait until the run is over for KFP."""
        wait(lambda: self.state in OVER, f"{self.name} over")


def wait(happened: Callable[[], bool], what: str, seconds: float = 900) -> None:
    """Wait until something has happened on the cluster."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"it did not happen: {what}"
        time.sleep(2)


def versions(server: Server, pipeline: str) -> list[Any]:
    """The versions of a pipeline, which need not be there."""
    found = server.pipeline(pipeline)
    api = server.kfp.PipelineServiceApi(server.at.client)
    listed = api.pipeline_service_list_pipeline_versions(found.pipeline_id, page_size=100) if found else None
    return list(listed.pipeline_versions or []) if listed else []


def runs_of(server: Server, experiment_id: str) -> list[Any]:
    """The runs in an experiment, the newest first."""
    api = server.kfp.RunServiceApi(server.at.client)
    found = api.run_service_list_runs(experiment_id=experiment_id, page_size=100, sort_by="created_at desc")
    return list(found.runs or [])


def recorded(cluster: Cluster, run_id: str) -> list[Any]:
    """The MLflow runs of a run."""
    from mlflow import MlflowClient

    mlflow = MlflowClient(cluster.tracking)
    everywhere = [experiment.experiment_id for experiment in mlflow.search_experiments()]
    return list(mlflow.search_runs(everywhere, f"tags.`{RUN_TAG}` = '{run_id}'"))


def forget(cluster: Cluster, pipeline: str, known: list[Any]) -> None:
    """Remove runs and uploads of this session; of the pipeline, the versions that were not known before."""
    server, kfp, client = cluster.server, cluster.server.kfp, cluster.server.at.client
    experiment = server.experiment(cluster.at.session)
    runs = kfp.RunServiceApi(client)
    for run in runs_of(server, experiment):
        if run.state not in OVER:
            with contextlib.suppress(ClusterError):  # it has ended since
                server.terminate(run.run_id)
        runs.run_service_delete_run(run.run_id)
    kfp.ExperimentServiceApi(client).experiment_service_delete_experiment(experiment)
    pipelines = kfp.PipelineServiceApi(client)
    kept = {version.pipeline_version_id for version in known}
    for name in (pipeline, cluster.at.session):
        for version in versions(server, name):
            if version.pipeline_version_id not in kept:
                pipelines.pipeline_service_delete_pipeline_version(version.pipeline_id, version.pipeline_version_id)
        if (found := server.pipeline(name)) and not (kept and name == pipeline):
            pipelines.pipeline_service_delete_pipeline(found.pipeline_id)
    cluster.bucket.empty(f"{cluster.at.session}/")


def rows(runs: list[Run]) -> Iterator[str]:
    """The table of what happened, for people."""
    for run in runs:
        try:
            status = run.summary["status"]
        except S3Error as error:
            status = error.code
        line = f"{run.name:<24} {run.run_id} {run.state:<10} {status:<12}"
        yield f"{line} {run.seconds:6.0f} s {len(run.all_pods()):3d} pods"
