"""Following a run: what is told on the way, and how the end is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sightline.errors import ClusterError, ClusterUsageError
from sightline.orchestrate import follow, versions
from sightline.orchestrate.follow import Change, Ended, Follower
from sightline.orchestrate.kfp_api import Server
from sightline.runtime import workflow
from tests.helpers import compiled
from tests.helpers.compiled import nodes, pod_of
from tests.helpers.kfp_stand_in import StandIn

UNSCHEDULABLE = "Unschedulable: 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."


def started(state: StandIn, folder: Path, *frames: tuple[str, dict[str, Any]]) -> str:
    """Start a run that shows these frames, one at each look."""
    state.script = list(frames)
    server = Server()
    uploaded = versions.upload(server, versions.package(compiled.write(folder)))
    run = server.create_run(
        name="mine",
        description="",
        experiment_id=server.experiment("sightline"),
        version=uploaded.version,
        parameters={},
        service_account=None,
    )
    return str(run.run_id)


def followed(
    state: StandIn, folder: Path, *frames: tuple[str, dict[str, Any]], **options: Any
) -> tuple[list[Change], Ended]:
    follower = Follower(Server(), started(state, folder, *frames), **options)
    changes = list(follower.changes(sleep=lambda _: None))
    return changes, follower.ended()


def words(changes: list[Change]) -> list[str]:
    return [" ".join(filter(None, (change.task, change.state, change.words))) for change in changes]


def test_each_stage_is_told_once_per_state_with_its_time(kfp_server: StandIn, tmp_path: Path) -> None:
    changes, ended = followed(
        kfp_server,
        tmp_path,
        ("PENDING", {}),
        ("RUNNING", nodes(validate="Running")),
        ("RUNNING", nodes(validate="Succeeded", train="Pending")),
        ("RUNNING", nodes(validate="Succeeded", train="Running")),
        ("SUCCEEDED", nodes(validate="Succeeded", train="Cached", conclude="Succeeded")),
    )
    told = ["validate running", "validate done", "train waiting", "train running", "train cached", "conclude done"]
    assert words(changes) == told
    assert [change.seconds for change in changes if change.state == "done"] == [12.0, 12.0]
    assert (ended.state, ended.logs, ended.summary) == ("SUCCEEDED", (), None)
    assert ended.no_summary == "SIGHTLINE_STORE is not set here, so the run's summary cannot be read."


def test_a_failed_task_shows_what_kubernetes_says_and_the_end_of_its_own_log(
    kfp_server: StandIn, tmp_path: Path
) -> None:
    kfp_server.logs[pod_of("train")] = (
        "I1128 23:31:24.432296      14 main.go:67] Setting log level to: '1'\n"
        + "".join(f"epoch {number}\n" for number in range(30))
        + "E1128 23:31:24.481126      14 launcher_v2.go:449] Component failed to execute successfully\n"
    )
    _, ended = followed(kfp_server, tmp_path, ("FAILED", nodes(train=("Failed", "main: OOMKilled (exit code 1)"))))
    (log,) = ended.logs
    assert (log.task, log.message) == ("train", "main: OOMKilled (exit code 1)")
    assert log.lines == tuple(f"epoch {number}" for number in range(10, 30))


def test_a_log_shows_what_the_task_says_and_not_what_starts_it(kfp_server: StandIn, tmp_path: Path) -> None:
    kfp_server.logs[pod_of("validate")] = (
        'time=2026-11-28T23:31:24.1Z level=INFO msg="capturing logs" argo=true\n'
        "[KFP Executor 2026-11-28 23:31:24,5 INFO]: Loading KFP component\n"
        '[KFP Executor 2026-11-28 23:31:24,6 INFO]: Got executor_input:\n{\n    "inputs": {\n    }\n}\n'
        "error: The run cannot start:\n  - SIGHTLINE_STORE is not set\n"
    )
    _, ended = followed(kfp_server, tmp_path, ("FAILED", nodes(validate=("Failed", "main: Error (exit code 1)"))))
    assert ended.logs[0].lines == ("error: The run cannot start:", "  - SIGHTLINE_STORE is not set")


def test_a_driver_that_failed_is_named_and_one_that_was_stopped_is_not(kfp_server: StandIn, tmp_path: Path) -> None:
    found = nodes(train="Succeeded")
    (driver,) = [node for node in found.values() if node["name"].endswith("train-driver(0)")]
    driver |= {"phase": "Failed", "message": "main: Error (exit code 1)"}
    kfp_server.logs[f"{compiled.RUN}-system-container-driver-{driver['id'].rpartition('-')[2]}"] = "no such parameter"
    _, ended = followed(kfp_server, tmp_path, ("FAILED", found))
    assert [(log.task, log.lines) for log in ended.logs] == [("train's driver", ("no such parameter",))]
    driver["message"] = workflow.STOPPED
    assert followed(kfp_server, tmp_path, ("FAILED", found))[1].logs == ()


def test_a_log_that_is_gone_leaves_what_kubernetes_says(kfp_server: StandIn, tmp_path: Path) -> None:
    _, ended = followed(kfp_server, tmp_path, ("FAILED", nodes(train=("Failed", "Evicted"))))
    assert [(log.message, log.lines) for log in ended.logs] == [("Evicted", ())]


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (UNSCHEDULABLE, "0 of 1 nodes take its pod: 1 lacks the labels that it selects"),
        (
            "Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
            "0 of 3 nodes have a free nvidia.com/gpu",
        ),
        ('ErrImagePull: Back-off pulling image "a/b:1"', "its image a/b:1 cannot be fetched"),
    ],
)
def test_a_pod_that_does_not_start_is_said_and_ends_the_run_after_the_time_given(
    kfp_server: StandIn, tmp_path: Path, message: str, what: str
) -> None:
    changes, ended = followed(
        kfp_server,
        tmp_path,
        ("RUNNING", nodes(validate="Succeeded", train=("Pending", message))),
        ("RUNNING", nodes(validate="Succeeded", train=("Pending", message))),
        pending=0.0,
    )
    assert f"train waiting train is waiting: {what}." in words(changes)
    assert ended.state == "FAILED"
    assert ended.given_up.endswith(message.rstrip("."))
    assert ended.given_up.startswith("the pod of train has not started for ")
    assert [request for request in kfp_server.requests if request.endswith(":terminate")]
    assert ended.cause
    because = f"train did not start within 0 s, so `sightline submit --pending` ended the run: {what}."
    assert (ended.cause.sentence, ended.cause.ended) == (because, True)


def test_without_a_limit_a_pod_that_waits_is_only_said_once(kfp_server: StandIn, tmp_path: Path) -> None:
    reasons = ('ErrImagePull: rpc error: image "a/b:1"', 'ImagePullBackOff: Back-off pulling image "a/b:1"')
    waits = [("RUNNING", nodes(train=("Pending", reason))) for reason in reasons * 3]
    changes, ended = followed(kfp_server, tmp_path, *waits, ("SUCCEEDED", nodes(train="Succeeded")))
    assert words(changes) == ["train waiting train is waiting: its image a/b:1 cannot be fetched.", "train done"]
    assert (ended.given_up, ended.cause) == ("", None)


def test_what_a_pod_waited_for_is_the_cause_where_the_end_overwrites_it(kfp_server: StandIn, tmp_path: Path) -> None:
    waits = nodes(train=("Pending", UNSCHEDULABLE))
    _, ended = followed(kfp_server, tmp_path, ("RUNNING", waits), ("FAILED", nodes(train=("Failed", workflow.STOPPED))))
    assert ended.cause
    assert ended.cause.sentence == (
        "The run was terminated by a person while train was waiting: 0 of 1 nodes take its pod: 1 lacks the labels "
        "that it selects."
    )


def test_what_a_pod_waited_for_is_forgotten_once_it_runs(kfp_server: StandIn, tmp_path: Path) -> None:
    waits = nodes(train=("Pending", 'ErrImagePull: rpc error: image "a/b:1"'))
    ended = nodes(train=("Failed", workflow.STOPPED))
    for node in ended.values():
        node["hostNodeName"] = "n1"
    frames = [("RUNNING", waits), ("RUNNING", nodes(train="Running")), ("FAILED", ended)]
    cause = followed(kfp_server, tmp_path, *frames)[1].cause
    assert cause
    assert cause.sentence == "The run was terminated by a person while train was at work."
    cause = followed(kfp_server, tmp_path, frames[0], ("RUNNING", ended), frames[2])[1].cause
    assert cause
    assert cause.sentence.endswith("train was waiting: its image a/b:1 cannot be fetched.")


def test_rounds_of_a_loop_are_told_once_each(kfp_server: StandIn, tmp_path: Path) -> None:
    found: dict[str, Any] = {}
    for number, phase in enumerate(("Succeeded", "Running")):
        for key, node in nodes(prep=phase).items():
            name = node["name"].replace(".prep", f".for-loop-1.iteration-item({number}:{number}).prep")
            found[f"{key}{number}"] = node | {"name": name, "id": f"{node['id']}{number}"}
    changes, _ = followed(kfp_server, tmp_path, *[("RUNNING", found)] * 3, ("SUCCEEDED", found))
    assert words(changes) == ["prep done", "prep running"]


def test_a_server_that_is_away_for_a_while_is_waited_for(kfp_server: StandIn, tmp_path: Path) -> None:
    run_id = started(kfp_server, tmp_path, ("SUCCEEDED", nodes(train="Succeeded")))
    kfp_server.faults[f"GET /apis/v2beta1/runs/{run_id}"] = [(500, "restarting"), (500, "restarting")]
    changes = list(Follower(Server(), run_id).changes(sleep=lambda _: None))
    assert [change.task for change in changes] == ["", "train"]
    assert "restarting. Its log says more" in changes[0].words


def test_a_server_that_is_away_when_the_run_has_ended_takes_nothing_of_what_was_seen(
    kfp_server: StandIn, tmp_path: Path
) -> None:
    run_id = started(kfp_server, tmp_path, ("FAILED", nodes(validate="Succeeded", train="Failed")))
    follower = Follower(Server(), run_id)
    assert words(list(follower.changes(sleep=lambda _: None)))[-1] == "train failed"
    kfp_server.faults[f"GET /apis/v2beta1/runs/{run_id}"] = [(500, "restarting")] * 9
    ended = follower.ended()
    assert (ended.state, ended.tasks[-1].name) == ("FAILED", "train")


def test_a_server_that_stays_away_is_given_up(kfp_server: StandIn, tmp_path: Path) -> None:
    run_id = started(kfp_server, tmp_path, ("RUNNING", {}))
    kfp_server.faults[f"GET /apis/v2beta1/runs/{run_id}"] = [(500, "gone")] * 3
    with pytest.raises(ClusterError, match="gone"):
        list(Follower(Server(), run_id, patience=0.0).changes(sleep=lambda _: None))


def test_a_run_that_is_not_there_is_refused(kfp_server: StandIn) -> None:
    follower = Follower(Server(), "none-such")
    with pytest.raises(ClusterUsageError, match="Run none-such not found"):
        list(follower.changes())
    assert not follower.found


def test_a_workflow_without_patch_or_with_attempts_is_read_alike() -> None:
    made = nodes(train=("Failed", "pod deleted"))
    plain = {
        key: {**node, "name": node["name"].replace("(0)", "")}
        for key, node in made.items()
        if not (node["type"] == "Retry" or node["name"].endswith("driver(0)"))
    }
    for found in (made, plain):
        seen = {"metadata": {"name": compiled.RUN}, "status": {"nodes": found}}
        (task,) = workflow.tasks(seen)
        assert (task.name, task.state, task.message) == ("train", "failed", "pod deleted")
        assert [pod.name for pod in workflow.failed(seen)] == [pod_of("train")]
    assert workflow.tasks({}) == workflow.pods({"status": None}) == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min"), (90, "1 min 30 s"), (86400, "1 d"), (3700, "1 h 1 min")]
)
def test_times_are_written_for_people(seconds: float, text: str) -> None:
    assert follow.duration(seconds) == text
