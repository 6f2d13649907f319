"""A real Kubeflow Pipelines on a cluster, as its users and its administrator use it, and the runs on it."""

from __future__ import annotations

import html
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from minio.error import S3Error

from sightline.orchestrate.kfp_api import OVER, Server
from sightline.runtime import workflow
from tests.helpers.bucket import Bucket
from tests.helpers.cluster_place import Place

ROOT = Path(__file__).parents[2]
KFP_STORE = "mlpipeline"  # KFP's own bucket, of its default installation
SIGHTLINE = (sys.executable, "-m", "sightline")
QUIET = {"PYTHONWARNINGS": "ignore", "NO_COLOR": "1"}
TINY = {"train.image_size": 32, "train.batch": 16}
SMALL = {"train_cpu": "500m", "train_memory": "2Gi"}


def overrides(**more: Any) -> str:
    """Settings of a training of seconds, for the form; `train__epochs=1` sets train.epochs."""
    return json.dumps(TINY | {name.replace("__", "."): value for name, value in more.items()})


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
        """Start a run by `sightline submit`, whatever the cluster can do, and follow it from then on."""
        given = [text for item in parameters.items() for text in ("--param", "=".join(item))]
        file = ("--pipeline", str(pipeline)) if pipeline else ()
        done = self.sightline(
            *("submit", "--json", "--no-check", "--run-name", name, *file, *given),
            SIGHTLINE_IMAGES=images or self.at.images,
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
        assert self.artifact("conclude", "final_report") == page
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


def rows(runs: list[Run]) -> Iterator[str]:
    """The table of what happened, for people."""
    for run in runs:
        try:
            status = run.summary["status"]
        except S3Error as error:
            status = error.code
        line = f"{run.name:<24} {run.run_id} {run.state:<10} {status:<12}"
        yield f"{line} {run.seconds:6.0f} s {len(run.all_pods()):3d} pods"
