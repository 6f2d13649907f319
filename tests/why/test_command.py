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
