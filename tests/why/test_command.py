"""`sightline why`, as a user types it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import kfp_server_api as kfp
import pytest

from sightline import report
from sightline.documents import ErrorReport
from sightline.run_store import RunStore
from sightline.storage import open_store
from tests.helpers.command import sightline
from tests.helpers.compiled import nodes
from tests.helpers.kfp_stand_in import StandIn
from tests.helpers.kubernetes_double import KubernetesDouble
from tests.helpers.left_in_store import leave

IDS = [f"2a4d9a05-0000-4000-8000-00000000000{number}" for number in range(3)]
UNSCHEDULABLE = "Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu."


@pytest.fixture
def runs(kfp_server: StandIn) -> list[str]:
    """Three runs of one name: the newest waits, the second ended well, the first failed."""
    frames = [
        ("FAILED", nodes(train=("Failed", "main: OOMKilled (exit code 1)"), conclude="Succeeded")),
        ("SUCCEEDED", nodes(train="Succeeded", conclude="Succeeded")),
        ("RUNNING", nodes(validate="Succeeded", train=("Pending", UNSCHEDULABLE))),
    ]
    for run_id, frame in zip(IDS, frames, strict=True):
        day = datetime(2026, 11, 20, tzinfo=UTC) + timedelta(days=len(kfp_server.runs))
        made = kfp.V2beta1Run(run_id=run_id, display_name="nightly", experiment_id="e", created_at=day)
        kfp_server.runs[run_id] = made
        kfp_server.frames[run_id] = [frame]
    return IDS


def asked(run: str, folder: Path, *options: str, **environment: str) -> dict[str, Any]:
    done = sightline("why", run, "--json", *options, cwd=folder, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout))


def test_a_name_means_its_newest_run_and_the_others_are_said(runs: list[str], tmp_path: Path) -> None:
    done = sightline("why", "nightly", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"run        nightly ({runs[2]})",
        f"           the newest of 3 of this name; before it {runs[1]}, {runs[0]}",
        "cause      train is waiting: 0 of 3 nodes have a free nvidia.com/gpu.",
        f"evidence   workflow: {UNSCHEDULABLE}",
        "do         Change train_gpus in the form, wait until a node is free, or add one.",
        "not asked  the store: SIGHTLINE_STORE is not set here, so the documents of its stages were not read.",
        "not asked  Kubernetes: there is no kubeconfig here, so its pods and events were not asked",
    ]


def test_an_id_and_an_address_mean_that_run_and_json_has_it_all(
    runs: list[str], kubernetes_server: KubernetesDouble, tmp_path: Path
) -> None:
    answer = asked(f"https://kfp.example/pipeline/#/runs/details/{runs[0]}", tmp_path)
    assert (answer["run_id"], answer["name"], answer["over"]) == (runs[0], "nightly", True)
    cause = answer["cause"]
    assert (cause["kind"], cause["task"], cause["again"], cause["ended"]) == ("memory", "train", False, True)
    assert len(answer["not_asked"]) == 1, "the store"
    answer = asked(runs[1], tmp_path)
    assert (answer["cause"], answer["standing"]) == (None, "It succeeded; nothing went wrong.")


def test_the_store_alone_says_what_the_stages_did(tmp_path: Path) -> None:
    run = RunStore(open_store(str(tmp_path / "store")), IDS[0])
    leave(run, tmp_path / "left")
    report.finish(run, tmp_path / "out", name="nightly")
    other = RunStore(run.store, IDS[1])
    other.fail(ErrorReport(stage="train", kind="train", message="The loss is NaN.", exit_code=1))
    environment = {"SIGHTLINE_STORE": run.store.uri, "KFP_ENDPOINT": "http://127.0.0.1:9"}
    answer = asked("nightly", tmp_path, **environment)
    assert (answer["run_id"], answer["standing"]) == (IDS[0], "It ended registered; nothing went wrong.")
    assert any(line.startswith("Kubeflow Pipelines: ") for line in answer["not_asked"])
    assert asked(IDS[1], tmp_path, **environment)["cause"]["sentence"] == "train failed: The loss is NaN."


def test_a_run_that_is_not_known_is_the_users_mistake_and_no_source_at_all_is_not(
    runs: list[str], tmp_path: Path
) -> None:
    done = sightline("why", "nobodys", cwd=tmp_path)
    assert done.returncode == 2
    assert "No run is known by the id, the name or the address 'nobodys'." in done.stderr
    done = sightline("why", IDS[0].replace("2a", "2b"), cwd=tmp_path)
    assert done.returncode == 2
    done = sightline("why", "nightly", cwd=tmp_path, KFP_ENDPOINT="")
    assert done.returncode == 1
    assert "Nothing could be asked about this run." in done.stderr
    assert done.stderr.count("  - ") == 3


def refused(server: StandIn) -> None:
    """Let Kubeflow Pipelines say who it is, and refuse all else."""
    for path in (f"v2beta1/runs/{IDS[0]}", f"v1beta1/runs/{IDS[0]}", "v2beta1/runs"):
        server.faults[f"GET /apis/{path}"] = [(403, "User 'ci' is not authorized")] * 9


def test_a_refusal_of_kubeflow_pipelines_costs_no_other_answer(
    runs: list[str], kfp_server: StandIn, kubernetes_server: KubernetesDouble, tmp_path: Path
) -> None:
    refused(kfp_server)
    run = RunStore(open_store(str(tmp_path / "store")), IDS[0])
    run.fail(ErrorReport(stage="train", kind="train", message="The loss is NaN.", exit_code=1))
    answer = asked(IDS[0], tmp_path, SIGHTLINE_STORE=run.store.uri)
    assert answer["cause"]["sentence"] == "train failed: The loss is NaN."
    (line,) = [line for line in answer["not_asked"] if line.startswith("Kubeflow Pipelines: ")]
    assert f"You may not find the run {IDS[0]}" in line


def test_kubernetes_alone_knows_a_run_that_has_left_nothing_yet(
    closed_address: str, kubernetes_server: KubernetesDouble, tmp_path: Path
) -> None:
    labels = {"pipeline/runid": IDS[0]}
    unbound = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are …"}
    kubernetes_server.add(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "validate-1", "namespace": "kubeflow", "labels": labels},
            "spec": {"containers": [{"name": "main"}]},
            "status": {"phase": "Pending", "conditions": [unbound]},
        }
    )
    answer = asked(IDS[0], tmp_path, KFP_ENDPOINT=closed_address)
    assert answer["run_id"] == IDS[0]
    done = sightline("why", IDS[1], cwd=tmp_path, KFP_ENDPOINT=closed_address)
    assert done.returncode == 2, "Kubernetes was asked, and knows none"
    assert f"No run is known by the id, the name or the address '{IDS[1]}'." in done.stderr


@pytest.mark.parametrize("run", [IDS[0], f"https://kfp.example/#/runs/details/{IDS[0]}", "nightly"])
def test_no_run_is_denied_where_nobody_who_knows_it_could_be_asked(
    run: str, closed_address: str, kubernetes_server: KubernetesDouble, tmp_path: Path
) -> None:
    kubernetes_server.forbidden = {"list pods", "list workflows"}
    store = f"file://{tmp_path}/store"
    done = sightline("why", run, cwd=tmp_path, KFP_ENDPOINT=closed_address, SIGHTLINE_STORE=store)
    assert done.returncode == 1, done.stderr
    assert f"Whether there is a run '{run}' is not known" in done.stderr
    assert "Kubeflow Pipelines: The server at" in done.stderr
    assert ("cannot list resource" in done.stderr) == (run != "nightly"), "Kubernetes knows no names"
