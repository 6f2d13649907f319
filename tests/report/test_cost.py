"""What a run on a cluster took is in its summary, its page and its MLflow run, as far as its last task sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline import report
from sightline.config.assignments import apply
from sightline.config.presets import quickstart
from sightline.documents import SummaryDocument
from sightline.documents.cost import Cost
from sightline.run_store import RunStore
from sightline.storage import open_store
from sightline.tracking.address import RUN_TAG
from tests.helpers import kubernetes_double
from tests.helpers.argo_workflow import Attempt, Made
from tests.helpers.kfp_stand_in import StandIn
from tests.helpers.kubernetes_double import KubernetesDouble
from tests.helpers.left_in_store import leave
from tests.helpers.page import Page

RUN = "2a4d9a05-run"


@pytest.fixture
def kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesDouble]:
    """A cluster that the kubeconfig names."""
    with kubernetes_double.serving() as server:
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path, namespace="default")))
        yield server


@pytest.fixture
def run(kfp_server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    """A run that registered a model."""
    monkeypatch.setenv("SIGHTLINE_TRACKING", "off")
    run = RunStore(open_store(str(tmp_path / "store")), RUN)
    leave(run, tmp_path / "made", config=apply(quickstart(), {"train.nodes": "2"}))
    return run


def made() -> Made:
    made = Made(RUN).task("validate", Attempt(10, 10, 40))
    made.task("train", Attempt(60, 660, 1260, "Failed", ran=590), Attempt(1270, 1300, 4900, ran=3590), gpus=2)
    return made.task("register", Attempt(5000, 5001, 5020)).task("conclude", Attempt(5030, 5031, None, "Running"))


def seen(kfp: StandIn, kubernetes: KubernetesDouble, what: Made) -> None:
    kfp.runs[RUN], kfp.frames[RUN] = object(), [("RUNNING", what.nodes)]
    kubernetes.add(*what.pods.values())


def finish(run: RunStore, tmp_path: Path) -> SummaryDocument:
    out = tmp_path / f"out {len(list(tmp_path.iterdir()))}"
    summary = report.finish(run, out)
    assert run.summary() == summary
    assert summary.status == "registered"
    return summary


def cost(run: RunStore, tmp_path: Path) -> Cost:
    found = finish(run, tmp_path).cost
    assert found
    return found


def text(run: RunStore) -> str:
    return Page(run.store.get_bytes(run.key("report.html")).decode()).text


def test_summary_and_page_have_each_tasks_time_waiting_and_gpus_of_all_nodes(
    run: RunStore, tmp_path: Path, kfp_server: StandIn, kubernetes: KubernetesDouble
) -> None:
    seen(kfp_server, kubernetes, made())
    found = cost(run, tmp_path)
    assert [(each.name, each.attempts, each.seconds, each.waiting_seconds) for each in found.tasks] == [
        ("validate", 1, 30, 0),
        ("train", 2, 4840, 630),
        ("register", 1, 20, 1),
    ]
    assert [(each.gpus, each.gpu_seconds) for each in found.tasks] == [(0, 0), (4, 4 * 4200), (0, 0)]
    assert (found.seconds, found.waiting_seconds, found.gpu_seconds) == (5020, 631, 16800)
    words = text(run)
    assert "It took 1 h 23 min; its 4 pods waited 10 min 31 s for nodes, and 4.67 GPU hours were asked for." in words
    assert "train 2 1 h 20 min 10 min 30 s 4 4 h 40 min" in words
    assert "not known" not in words[words.index("What it took") :]


@pytest.mark.parametrize("fault", ["forbidden", "down"])
def test_without_the_right_to_read_pods_waiting_is_not_known_and_the_rest_is(
    fault: str, run: RunStore, tmp_path: Path, kfp_server: StandIn, kubernetes: KubernetesDouble, capsys: Any
) -> None:
    seen(kfp_server, kubernetes, made())
    if fault == "forbidden":
        kubernetes.forbidden.add("get pods")
    else:
        (first, *_) = made().pods
        kubernetes.faults[f"GET /api/v1/namespaces/kubeflow/pods/{first}"] = [(500, "etcd is full")]
    found = cost(run, tmp_path)
    assert (found.waiting_seconds, found.unknown_waiting) == (None, 4)
    assert (found.seconds, found.gpu_seconds) == (5020, 4 * (590 + 3590))
    assert capsys.readouterr().err.count("how long pods waited for a node is not known: ") == 1
    words = text(run)
    assert "how long its 4 pods waited for nodes is not known" in words
    assert "where that moment is not known, while the container ran" in words


def test_finishing_a_run_again_keeps_what_nothing_says_any_more(
    run: RunStore, tmp_path: Path, kfp_server: StandIn, kubernetes: KubernetesDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen(kfp_server, kubernetes, made())
    before = finish(run, tmp_path)
    kubernetes.objects.clear()
    assert finish(run, tmp_path) == before
    kfp_server.faults[f"GET /apis/v1beta1/runs/{RUN}"] = [(404, "no such run")]
    assert finish(run, tmp_path) == before
    monkeypatch.setenv("KFP_ENDPOINT", "")
    assert finish(run, tmp_path) == before


def test_a_pod_of_another_run_in_another_cluster_says_nothing(
    run: RunStore, tmp_path: Path, kfp_server: StandIn, kubernetes: KubernetesDouble
) -> None:
    seen(kfp_server, kubernetes, made())
    for pod in kubernetes.of("Pod"):
        pod["metadata"]["labels"] = {"pipeline/runid": "another"}
    assert cost(run, tmp_path).waiting_seconds is None


def test_a_run_that_no_server_knows_has_no_cost_and_its_page_says_nothing_of_it(
    run: RunStore, tmp_path: Path, kubernetes: KubernetesDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KFP_ENDPOINT", "")
    assert finish(run, tmp_path).cost is None
    assert "What it took" not in text(run)
    assert kubernetes.requests == []


def test_mlflow_has_the_hours_once_however_often_the_run_is_finished(
    run: RunStore,
    tmp_path: Path,
    kfp_server: StandIn,
    kubernetes: KubernetesDouble,
    mlflow_server: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow import MlflowClient
    from mlflow.artifacts import load_text

    monkeypatch.setenv("SIGHTLINE_TRACKING", "on")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    folders = {name: tmp_path / "made" / name for name in ("validate", "train", "export", "evaluate", "sample")}
    recorded = report.run(run_id=RUN, folders=folders, out=tmp_path / "reported")
    seen(kfp_server, kubernetes, made())
    finish(run, tmp_path)
    finish(run, tmp_path)
    client = MlflowClient(mlflow_server)
    place = client.get_experiment_by_name("sightline").experiment_id
    (found,) = client.search_runs([place], f"tags.`{RUN_TAG}` = '{RUN}'")
    assert found.info.run_id == recorded.run_id
    assert found.data.metrics["gpu_hours"] == pytest.approx(16800 / 3600)
    assert found.data.metrics["waiting_seconds"] == 631
    assert len(client.get_metric_history(recorded.run_id, "gpu_hours")) == 1
    assert (found.info.status, found.data.tags["sightline.status"]) == ("FINISHED", "registered")
    assert "What it took" in load_text(f"runs:/{recorded.run_id}/report.html")
