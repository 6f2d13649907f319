"""`sightline submit`: what a person and CI see of it, and the exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sightline.documents import ErrorReport, SummaryDocument
from tests.helpers import compiled
from tests.helpers.compiled import nodes, pod_of
from tests.helpers.kfp_stand_in import StandIn

Command = Callable[..., subprocess.CompletedProcess[str]]
RUNNING, FAILED = ("RUNNING", nodes(validate="Running")), ("FAILED", nodes(validate=("Failed", "main: Error")))


def submitted(command: Command, folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    compiled.write(folder)
    return command("submit", "--pipeline", "small.yaml", *arguments, cwd=folder, **environment)


def summary(run_id: str, **parts: Any) -> SummaryDocument:
    """Return the summary of a run of which nothing else is known."""
    empty = dict.fromkeys(("git_commit", "hardware", "data", "train", "export", "evaluate", "register", "error"))
    values = {
        "started_at": "",
        "finished_at": "",
        "packages": {},
        "stages": [],
        "rejected_by": None,
        "status": "failed",
    }
    return SummaryDocument.model_validate({"run_id": run_id, **empty, **values, **parts})


def test_it_uploads_once_starts_runs_and_says_where_they_are(
    command: Command, kfp_server: StandIn, tmp_path: Path
) -> None:
    arguments = ("--param", "data=s3://b/cells", "--param", "train_epochs=3", "--run-name", "tonight's run")
    first, second = (submitted(command, tmp_path, *arguments) for _ in range(2))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert " uploaded\n" in first.stdout
    assert "was there already: nothing was uploaded" in second.stdout
    assert "127.0.0.1:1/train:1 (not checked: its registry cannot be reached from here" in first.stdout
    assert len(kfp_server.versions) == 1
    assert len(kfp_server.runs) == 2
    run = next(iter(kfp_server.runs.values()))
    assert run.display_name == "tonight's run"
    assert run.runtime_config.parameters == {"data": "s3://b/cells", "train_epochs": "3"}
    assert "127.0.0.1:1/train:1" in run.description
    assert "commit" in run.description
    assert f"{kfp_server.address}/#/runs/details/{run.run_id}" in first.stdout
    assert f"sightline submit --follow {run.run_id}" in first.stdout


def test_settings_come_from_options_or_the_environment(command: Command, kfp_server: StandIn, tmp_path: Path) -> None:
    kfp_server.multi_user, kfp_server.token = True, "good"
    done = submitted(
        command,
        tmp_path,
        "--experiment",
        "nightly",
        KFP_TOKEN="good",
        KFP_NAMESPACE="team-a",
        KFP_SERVICE_ACCOUNT="trainer",
        KF_PIPELINES_UI_ENDPOINT="https://kubeflow.example/pipeline",
    )
    assert done.returncode == 0, done.stderr
    assert "good" not in done.stdout + done.stderr
    (run,) = kfp_server.runs.values()
    (experiment,) = kfp_server.experiments.values()
    assert (run.service_account, experiment.display_name, experiment.namespace) == ("trainer", "nightly", "team-a")
    assert f"https://kubeflow.example/pipeline/#/runs/details/{run.run_id}" in done.stdout


def test_no_run_only_uploads(command: Command, kfp_server: StandIn, tmp_path: Path) -> None:
    done = submitted(command, tmp_path, "--no-run", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["uploaded"], answer["run_id"], answer["run"]) == (True, None, None)
    assert (len(kfp_server.versions), len(kfp_server.runs)) == (1, 0)


def test_a_dry_run_shows_what_would_be_sent_and_sends_nothing(
    command: Command, kfp_server: StandIn, tmp_path: Path
) -> None:
    done = submitted(command, tmp_path, "--dry-run", "--param", "train_epochs=3", KFP_ENDPOINT="")
    assert done.returncode == 0, done.stderr
    meaning = "train_epochs (preset): Passes over"
    for words in ("pipeline   sightline-small", "tag        content: ", "parameter  train_epochs = 3", meaning):
        assert words in done.stdout
    assert kfp_server.requests == []


def test_waiting_shows_the_stages_and_ends_with_the_runs_own_verdict(
    command: Command, kfp_server: StandIn, tmp_path: Path
) -> None:
    kfp_server.script = [FAILED]
    kfp_server.logs[pod_of("validate")] = "error: bad labels\n"
    run_id = json.loads(submitted(command, tmp_path, "--json").stdout)["run_id"]
    store = tmp_path / "store"
    error = ErrorReport(stage="validate", kind="data-rejected", message="3 labels lie outside", exit_code=3)
    path = store / "runs" / run_id / "summary.json"
    path.parent.mkdir(parents=True)
    path.write_text(summary(run_id, rejected_by="data", error=error.model_dump()).model_dump_json(by_alias=True))
    done = command("submit", "--follow", run_id, cwd=tmp_path, SIGHTLINE_STORE=f"file://{store}")
    assert done.returncode == 3, done.stderr
    for words in (
        "validate   failed   12 s: main: Error",
        "  error: bad labels",
        "REJECTED by the data gate",
        "3 labels",
    ):
        assert words in done.stdout
    done = command("submit", "--follow", run_id, "--json", cwd=tmp_path, SIGHTLINE_STORE=f"file://{store}")
    assert done.returncode == 3
    answer = json.loads(done.stdout)
    assert (answer["state"], answer["summary"]["rejected_by"]) == ("FAILED", "data")
    assert answer["logs"] == [{"task": "validate", "message": "main: Error", "lines": ["error: bad labels"]}]
    path.write_text('{"run_id": 3}')
    done = command("submit", "--follow", run_id, cwd=tmp_path, SIGHTLINE_STORE=f"file://{store}")
    assert done.returncode == 1
    assert "is one of another version" in done.stdout


def test_without_access_to_the_store_the_states_of_the_tasks_tell(
    command: Command, kfp_server: StandIn, tmp_path: Path
) -> None:
    kfp_server.script = [("SUCCEEDED", nodes(validate="Succeeded"))]
    done = submitted(command, tmp_path, "--wait")
    assert done.returncode == 0, done.stderr
    assert "validate   done     12 s" in done.stdout
    assert "SIGHTLINE_STORE is not set here" in done.stdout
    assert "is over: succeeded" in done.stdout
    kfp_server.script = [FAILED]
    done = submitted(command, tmp_path, "--wait", SIGHTLINE_STORE=f"file://{tmp_path}/empty")
    assert done.returncode == 1
    assert "The run left nothing in the store" in done.stdout
    assert "Its log cannot be read" in done.stdout


def test_a_pod_that_no_node_takes_ends_the_run(command: Command, kfp_server: StandIn, tmp_path: Path) -> None:
    kfp_server.script = [("RUNNING", nodes(train=("Pending", "Unschedulable: 0/3 nodes are available")))]
    done = submitted(command, tmp_path, "--wait", "--pending", "0s")
    assert done.returncode == 1
    assert "given up: the pod of train has not started for 0 s: Unschedulable: 0/3 nodes are available." in done.stdout


def test_a_run_whose_last_task_did_not_run_gets_its_summary_from_the_command_that_ended_it(
    command: Command, kfp_server: StandIn, tmp_path: Path
) -> None:
    kfp_server.script = [("RUNNING", nodes(train=("Pending", "Unschedulable: 0/3 nodes are available")))]
    store = tmp_path / "store"
    done = submitted(command, tmp_path, "--wait", "--pending", "0s", SIGHTLINE_STORE=f"file://{store}")
    assert done.returncode == 1
    (run_id,) = kfp_server.runs
    summary = json.loads((store / "runs" / run_id / "summary.json").read_text())
    assert (summary["status"], summary["error"]["stage"]) == ("failed", "train")
    assert "so `sightline submit --pending` ended the run: 0/3 nodes are available." in summary["error"]["message"]
    assert (summary["cause"]["kind"], summary["cause"]["task"]) == ("unschedulable", "train")
    assert "FAILED in train" in done.stdout
    assert "train is waiting: 0/3 nodes are available." in done.stdout
    assert "evidence   workflow: Unschedulable: 0/3 nodes are available" in done.stdout
    assert (store / "runs" / run_id / "report.html").exists()


def test_ctrl_c_leaves_the_run_alone(command: Command, kfp_server: StandIn, tmp_path: Path) -> None:
    kfp_server.script = [RUNNING]
    compiled.write(tmp_path)
    waiting = subprocess.Popen(
        [sys.executable, "-m", "sightline", "submit", "--pipeline", "small.yaml", "--wait"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stdout is not None
    for line in waiting.stdout:
        if line.startswith("validate"):
            break
    waiting.send_signal(signal.SIGINT)
    _, said = waiting.communicate(timeout=30)
    assert waiting.returncode == 0
    (run_id,) = kfp_server.runs
    assert f"The run goes on. Follow it again: sightline submit --follow {run_id}" in said
    assert not [request for request in kfp_server.requests if request.endswith(":terminate")]


def test_a_call_goes_on_where_one_that_failed_stopped(command: Command, kfp_server: StandIn, tmp_path: Path) -> None:
    kfp_server.faults["POST /apis/v2beta1/runs"] = [(500, "no room")]
    done = submitted(command, tmp_path)
    assert done.returncode == 1
    assert "could not start the run" in done.stderr
    assert "Run the same command again" in done.stderr
    done = submitted(command, tmp_path)
    assert done.returncode == 0
    assert (len(kfp_server.pipelines), len(kfp_server.versions), len(kfp_server.runs)) == (1, 1, 1)


def test_somebody_who_may_not_see_schedules_may_still_submit(
    command: Command, kfp_server: StandIn, tmp_path: Path
) -> None:
    kfp_server.faults["GET /apis/v2beta1/recurringruns"] = [(403, "no")]
    done = submitted(command, tmp_path)
    assert done.returncode == 0
    assert "schedules  not checked: You may not list the recurring runs" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        ((), {"KFP_ENDPOINT": "", "KUBECONFIG": "none"}, "No Kubeflow Pipelines server is named: set KFP_ENDPOINT"),
        ((), {"KFP_TOKEN": "expired"}, "token of KFP_TOKEN: it is wrong or has expired"),
        (("--namespace", "team-b"), {"KFP_TOKEN": "good"}, "You may not find the pipeline sightline-small in the name"),
        (("--param", "train_epochs"), {}, "got 'train_epochs', expected NAME=VALUE"),
        (("--param", "train_epochs=3", "--param", "train_epochs=4"), {}, "'train_epochs' is given twice"),
        (("--param", "train_epochs=x", "--param", "colour=red"), {}, "unknown parameter 'colour'"),
        (("--pipeline", "gone.yaml"), {}, "cannot be read"),
        (("--follow", "none-such"), {"KFP_TOKEN": "good", "KFP_NAMESPACE": "team-a"}, "Run none-such not found"),
        (("--no-run", "--wait"), {}, "--no-run starts nothing"),
        (("--pending", "30m"), {}, "--pending needs --wait"),
        (("--wait", "--pending", "soon"), {}, "expected a time such as 90s"),
        (("--experiment", ""), {}, "got '', expected a value"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(
    command: Command,
    kfp_server: StandIn,
    tmp_path: Path,
    arguments: tuple[str, ...],
    environment: dict[str, str],
    words: str,
) -> None:
    kfp_server.multi_user, kfp_server.token = True, "good"
    if "--follow" in arguments:
        done = command("submit", *arguments, cwd=tmp_path, **environment)
    else:
        done = submitted(command, tmp_path, *arguments, **environment)
    assert done.returncode == 2, done.stdout
    assert words in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert kfp_server.pipelines == kfp_server.runs == {}


def test_a_missing_image_starts_nothing(command: Command, kfp_server: StandIn, tmp_path: Path) -> None:
    from tests.helpers.registry_stand_in import registry_serving

    with registry_serving() as host:
        compiled.write(tmp_path, image=f"{host}/p/train:1")
        done = command("submit", "--pipeline", "small.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert f"  - {host}/p/train:1" in done.stderr
    assert kfp_server.pipelines == {}


def test_a_server_that_hangs_at_the_start_of_a_run_may_have_started_it(
    command: Command, kfp_server: StandIn, tmp_path: Path
) -> None:
    kfp_server.faults["POST /apis/v2beta1/runs"] = ["hang"]
    done = submitted(command, tmp_path, SIGHTLINE_KFP_WAIT="1")
    assert done.returncode == 1
    assert "did not answer for 1 seconds when it was to start the run" in done.stderr
    assert "It may have done so all the same: look at its runs before you submit again." in done.stderr
    assert kfp_server.requests.count("POST /apis/v2beta1/runs") == 1
