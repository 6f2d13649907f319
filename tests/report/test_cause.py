"""A stage that could not say why it ended: the summary has Kubernetes' words for it, where the server can be asked."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sightline import report
from sightline.documents import ErrorReport, SummaryDocument, read
from sightline.run_store import RunStore, pack
from sightline.runtime import workflow
from sightline.storage import open_store
from tests.helpers.command import sightline
from tests.helpers.compiled import nodes
from tests.helpers.documents import write_run
from tests.helpers.kfp_stand_in import StandIn
from tests.helpers.page import Page

RUN = "2a4d9a05-run"
OOM = "main: OOMKilled (exit code 1)"
NO_NODE = "Unschedulable: 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
LOW = "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 0.5Gi."
QUOTA = (
    'pods "x-7" is forbidden: exceeded quota: sightline, requested: requests.nvidia.com/gpu=4, '
    "used: requests.nvidia.com/gpu=1, limited: requests.nvidia.com/gpu=2"
)
NO_IMAGE = 'ImagePullBackOff: Back-off pulling image "registry/train:1": not found'
TOO_LONG = "Pod was active on the node longer than the specified deadline"
DONE = {"validate": "Succeeded", "gate": "Succeeded"}


@pytest.fixture
def store(kfp_server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store in which validate of the run has left its result, and no tracking."""
    monkeypatch.setenv("SIGHTLINE_TRACKING", "off")
    monkeypatch.setenv("SIGHTLINE_STORE", f"file://{tmp_path}/store")
    leave(tmp_path, "validate")
    return f"file://{tmp_path}/store"


def leave(folder: Path, *stages: str) -> None:
    """Leave the results of stages in the store."""
    run = RunStore(open_store(f"file://{folder}/store"), RUN)
    for stage, path in write_run(folder / "left", stages=stages).items():
        run.leave([pack(stage, path, run.store, RUN)])


def seen(server: StandIn, found: dict[str, Any]) -> None:
    """Let the server have the run, with the nodes of its workflow."""
    server.runs[RUN], server.frames[RUN] = object(), [("RUNNING", found)]


def error_of(store: str, folder: Path) -> ErrorReport:
    summary = report.finish(RunStore(open_store(store), RUN), folder / "out")
    assert (summary.status, summary.error and summary.error.exit_code) == ("failed", 1)
    assert read(SummaryDocument, folder / "out") == summary
    assert summary.error
    return summary.error


@pytest.mark.parametrize(
    ("phase", "words", "kind", "what", "do"),
    [
        ("Failed", OOM, "memory", "train ran out of memory: its container main", "train_memory in the form"),
        ("Failed", "pod deleted", "lost", "train lost its pod", "Retry"),
        ("Failed", "main: Error (exit code 143)", "lost", "train was ended from outside", "Retry"),
        ("Failed", LOW, "lost", "train was evicted: its node ran low on ephemeral-storage (0.5Gi left", "Retry"),
        (
            "Failed",
            'Usage of EmptyDir volume "tmp" exceeds the limit "20Gi".',
            "lost",
            "over its limit of 20Gi",
            "40Gi",
        ),
        ("Failed", TOO_LONG, "lost", "train ran into its time limit", "TRAIN_TIMEOUT"),
        ("Failed", workflow.STOPPED, "interrupted", "The run was terminated by a person while train", "Retry"),
        ("Failed", "main: Error (exit code 1)", "lost", "train ended without a result", "log says more"),
        (
            "Error",
            'pods "x" is forbidden: violates PodSecurity "baseline": no',
            "lost",
            "baseline refuses",
            "manifests/R",
        ),
        ("Pending", NO_NODE, "lost", "train could not start: 0 of 1 nodes take its pod", "train_node_selector"),
        (
            "Pending",
            QUOTA,
            "lost",
            "allows 2 requests.nvidia.com/gpu, of which 1 are in use, and it asks for 4",
            "train_gpus",
        ),
        (
            "Pending",
            NO_IMAGE,
            "lost",
            "its image registry/train:1 cannot be fetched: the registry has no",
            "PULL_SECRET",
        ),
    ],
)
def test_the_cause_and_what_to_do_stand_in_the_summary_and_its_error_says_them_in_short(
    phase: str, words: str, kind: str, what: str, do: str, kfp_server: StandIn, store: str, tmp_path: Path
) -> None:
    seen(kfp_server, nodes(**DONE, train=(phase, words), conclude="Running"))
    error = error_of(store, tmp_path)
    cause = read(SummaryDocument, tmp_path / "out").cause
    assert cause
    assert (error.stage, error.kind) == (cause.task, kind) == ("train", kind)
    assert what in cause.sentence
    assert do in cause.do
    assert error.message == f"{cause.sentence} {cause.do}"
    assert cause.evidence == [f"workflow: {words}"]
    page = Page((tmp_path / "out" / "report.html").read_text()).text
    assert cause.sentence in page
    assert words in page


@pytest.mark.parametrize(
    ("task", "left", "stage"),
    [("gate", [], "validate"), ("verdict", ["train", "export", "evaluate", "sample"], "evaluate")],
)
def test_a_task_that_is_no_stage_counts_as_the_one_whose_verdict_it_reads(
    task: str, left: list[str], stage: str, kfp_server: StandIn, store: str, tmp_path: Path
) -> None:
    leave(tmp_path, *left)
    before = dict.fromkeys(["validate", *left], "Succeeded")
    seen(kfp_server, nodes(**before, **{task: ("Failed", OOM)}, conclude=("Failed", "pod deleted")))
    error = error_of(store, tmp_path)
    assert (error.stage, error.kind) == (stage, "memory")
    assert error.message.startswith(f"{task} ran out of memory")
    assert "resources.py" in error.message
    assert "train_memory" not in error.message


def test_only_the_last_attempt_counts_and_a_driver_is_named(kfp_server: StandIn, store: str, tmp_path: Path) -> None:
    found = nodes(**DONE, train=("Failed", "pod deleted"), conclude="Running")
    (first,) = [node for node in found.values() if node["name"].endswith("train(0).executor(0)")]
    second = {
        "id": "x-2",
        "name": first["name"].replace("(0)", "(1)"),
        "message": OOM,
        "startedAt": datetime.now(UTC).isoformat(),
    }
    seen(kfp_server, found | {"x-2": first | second})
    assert error_of(store, tmp_path).kind == "memory"
    cause = read(SummaryDocument, tmp_path / "out").cause
    assert cause
    assert cause.evidence == [f"workflow: {OOM}", "attempt 1 of 2: pod deleted"]
    RunStore(open_store(store), RUN).store.delete([f"runs/{RUN}/summary.json"])
    found = nodes(**DONE, train="Pending", conclude="Running")
    (driver,) = [node for node in found.values() if node["name"].endswith("train-driver(0)")]
    driver |= {"phase": "Failed", "message": "main: Error (exit code 1)"}
    seen(kfp_server, found)
    error = error_of(store, tmp_path)
    assert (error.stage, error.kind) == ("train", "lost")
    assert error.message.startswith("The driver of train failed: main: Error (exit code 1).")


def test_a_stage_that_said_why_it_failed_is_believed_and_one_that_was_only_interrupted_is_explained(
    kfp_server: StandIn, store: str, tmp_path: Path
) -> None:
    run = RunStore(open_store(store), RUN)
    run.fail(ErrorReport(stage="train", kind="train", message="The loss is NaN.", exit_code=1))
    seen(kfp_server, nodes(**DONE, train=("Failed", "main: Error (exit code 1)")))
    assert error_of(store, tmp_path).message == "The loss is NaN."
    assert not any("/log" in request for request in kfp_server.requests)
    run.begin()
    leave(tmp_path, "validate")
    run.fail(ErrorReport(stage="train", kind="interrupted", message="Interrupted.", exit_code=130))
    seen(kfp_server, nodes(**DONE, train=("Failed", TOO_LONG)))
    assert "train ran into its time limit" in error_of(store, tmp_path).message


@pytest.mark.parametrize("fault", ["hang", "drop", "<html>log in</html>", (401, "who are you"), (500, "no database")])
def test_a_server_that_cannot_be_asked_costs_a_note_and_little_time(
    fault: Any, kfp_server: StandIn, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("SIGHTLINE_KFP_WAIT", "1")
    seen(kfp_server, nodes(**DONE, train=("Failed", OOM)))
    kfp_server.faults[f"GET /apis/v1beta1/runs/{RUN}"] = [fault]
    started = time.monotonic()
    error = error_of(store, tmp_path)
    assert time.monotonic() - started < 4
    assert (error.stage, error.kind) == ("train", "lost")
    assert error.message.startswith("The run ended before train ")
    assert "note: not asked why the run ended: Kubeflow Pipelines: " in capsys.readouterr().err


@pytest.mark.parametrize("address", ["", "closed", "http://user:secret@kfp:8888", "http://kfp:99999999"])
def test_no_server_or_a_wrong_address_changes_nothing(
    address: str, store: str, closed_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("KFP_ENDPOINT", closed_address if address == "closed" else address)
    assert error_of(store, tmp_path).kind == "lost"
    said = capsys.readouterr().err
    assert ("note: not asked why the run ended: " in said) == bool(address)
    assert "secret" not in said


def test_conclude_asks_the_server_of_its_own_namespace_with_its_token_and_without_kfp(
    kfp_server: StandIn, store: str, tmp_path: Path
) -> None:
    seen(kfp_server, nodes(**DONE, train=("Failed", OOM), conclude="Running"))
    kfp_server.token = "a-token"
    (tmp_path / "token").write_text("a-token\n")
    host, port = kfp_server.address.removeprefix("http://").split(":")
    code = (
        "import sys\n"
        "from sightline import tasks\n"
        f"tasks.conclude(name='nightly', state='RUNNING', page={str(tmp_path / 'page.html')!r})\n"
        "assert not {'kfp', 'kfp_server_api', 'sightline.orchestrate'} & set(sys.modules)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("KFP_ENDPOINT", "SIGHTLINE_RUNS")}
    environment |= {"SIGHTLINE_RUN_ID": RUN, "TMPDIR": str(tmp_path), "KFP_POD_NAME": "x", "KFP_POD_UID": "y"}
    environment |= {"ML_PIPELINE_SERVICE_HOST": host, "ML_PIPELINE_SERVICE_PORT": port}
    environment |= {"KF_PIPELINES_SA_TOKEN_PATH": str(tmp_path / "token")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "status: failed, in train: train ran out of memory" in done.stdout
    assert "OOMKilled" in (tmp_path / "page.html").read_text()
    assert b"OOMKilled" in RunStore(open_store(store), RUN).store.get_bytes(f"runs/{RUN}/summary.json")


def test_finishing_a_run_by_hand_asks_the_server_that_the_environment_names(
    kfp_server: StandIn, store: str, tmp_path: Path
) -> None:
    seen(kfp_server, nodes(**DONE, train=("Failed", workflow.STOPPED)))
    done = sightline("report", "--run", RUN, cwd=tmp_path)
    assert "The run was terminated by a person while train" in " ".join((done.stdout + done.stderr).split())
