"""`sightline run --runner docker`: what a run in containers leaves, and what is left of it however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient
from docker.models.containers import Container

from sightline.errors import ConfigError
from sightline.orchestrate import engine, images
from sightline.orchestrate.processes import of_run
from sightline.runtime import progress
from tests.helpers.sets import Sets

pytestmark = [pytest.mark.images, pytest.mark.timeout(900)]
Command = Callable[..., "subprocess.CompletedProcess[str]"]
STOP = """
import os, pathlib, signal
for file in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if b"kfp.dsl.executor_main" in file.read_bytes().split(b"\\0"):
        os.kill(int(file.parent.name), signal.SIGSTOP)
"""
SHORT = ("--set", "train.epochs=1", "--set", "gate.min_map50=0", "--set", "gate.min_map50_95=0")
DOCKER = ("run", "--runner", "docker")


@pytest.fixture(scope="module")
def client() -> Iterator[DockerClient]:
    """The engine, which has the images of today's sources or those of SIGHTLINE_IMAGES."""
    try:
        engine.check(images.references().values())
        with engine.connected() as client:
            yield client
    except ConfigError as error:
        pytest.skip(f"no images to run in: {error}")


@pytest.fixture(autouse=True)
def embedded(client: DockerClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Store and tracking are those in the folder of runs."""
    monkeypatch.delenv("SIGHTLINE_STORE")
    monkeypatch.delenv("SIGHTLINE_RUNS")


def until(true: Callable[[], Any], seconds: float = 240) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


def summary(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "summary.json").read_text()))


@contextlib.contextmanager
def training(folder: Path, client: DockerClient) -> Iterator[tuple[subprocess.Popen[str], Container]]:
    """The quickstart in the middle of its training, and the container that trains."""
    arguments = [sys.executable, "-m", "sightline", *DOCKER, "--runs", str(folder.parent), "--run-id", folder.name]
    run = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    events = folder / "progress.jsonl"

    def trains() -> bool:
        assert run.poll() is None, run.stdout and run.stdout.read()
        found = progress.events(events)[0] if events.exists() else []
        return any(event["event"] == "progress" and event["stage"] == "train" and event["done"] for event in found)

    try:
        until(trains)
        [container] = engine.of_run(client, folder)
        yield run, container
    finally:
        run.kill()
        run.communicate()
        engine.remove(folder)
        until(lambda: not of_run(folder))


def runner_of(run: subprocess.Popen[str], folder: Path) -> int:
    """Return the process between the command and the engine: the one that is no container's."""
    return next(
        process
        for process in of_run(folder)
        if b"sightline.orchestrate.runner" in Path(f"/proc/{process}/cmdline").read_bytes()
    )


def files(folder: Path) -> set[str]:
    """Everything in a run's folder but kfp's own."""
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {str(path) for path in found if path.parts[0] != ".kfp"}


def test_a_run_in_containers_gives_what_a_run_in_processes_gives_and_again_from_the_cache(
    command: Command, tmp_path: Path
) -> None:
    where = tmp_path / "a folder, ünd more"
    where.mkdir()
    runs = {}
    for run_id, runner in {"docker": "docker", "subprocess": "subprocess", "again": "docker"}.items():
        arguments = ("--run-id", run_id, *SHORT, "--set", "train.epochs=8")
        done = command("run", "--json", "--runner", runner, *arguments, cwd=where)
        assert done.returncode == 0, done.stdout + done.stderr
        runs[run_id] = json.loads(done.stdout)
    docker, other, again = runs["docker"], runs["subprocess"], runs["again"]
    assert docker["status"] == other["status"] == "registered"
    assert docker["data"] == other["data"]
    assert docker["evaluate"]["map50"] > 0.5
    for score in ("map50", "map50_95", "precision", "recall", "confidence"):
        assert docker["evaluate"][score] == pytest.approx(other["evaluate"][score], abs=1e-6)
    assert docker["register"]["tracking_uri"] == other["register"]["tracking_uri"]
    assert {docker["register"]["version"], other["register"]["version"]} == {"1", "2"}
    folder = where / "runs" / "docker"
    assert all(path.stat().st_uid == os.getuid() for path in folder.rglob("*"))
    assert not (folder / "tmp").exists()
    assert files(folder) == files(where / "runs/subprocess") | {"mlflow-server.log"}
    assert files(folder) == files(where / "runs/again")
    cached = [stage["name"] for stage in again["stages"] if stage["status"] == "cached"]
    assert cached == ["train", "export", "evaluate"]
    assert again["export"]["sha256"] == docker["export"]["sha256"]


def test_data_is_read_where_it_lies_and_a_rejected_set_ends_with_its_page(
    command: Command, tmp_path: Path, sets: Sets
) -> None:
    elsewhere = sets.yolo("elsewhere")
    (elsewhere / "labels/train/0.txt").write_text("0 2 2 2 2\n")
    home = tmp_path / "home"
    home.mkdir()
    (home / "data.yaml").write_text(json.dumps({"train": f"{elsewhere}/images/train", "names": ["cat", "dog"]}))
    arguments = ("--data", str(home), "--policy", "strict", "--weights", "yolo11n.yaml", "--run-id")
    ends = [command("run", "--runner", kind, *arguments, kind, cwd=tmp_path) for kind in ("docker", "subprocess")]
    assert [done.returncode for done in ends] == [3, 3], ends[0].stdout + ends[0].stderr
    docker, other = (summary(tmp_path / "runs" / kind) for kind in ("docker", "subprocess"))
    assert docker["error"]["message"].replace("runs/docker", "runs/subprocess") == other["error"]["message"]
    assert (docker["rejected_by"], docker["data"]) == ("data", other["data"])
    assert (tmp_path / "runs/docker/validate/data.html").exists()


@pytest.mark.parametrize("data", ["sets", "nothing"])
def test_what_is_not_there_is_said_in_the_same_words(command: Command, tmp_path: Path, sets: Sets, data: str) -> None:
    sets.yolo("set")
    where = str(sets.root / data)
    arguments = ("--data", where, "--weights", "yolo99.pt", "--run-id")
    ends = [command("run", "--runner", kind, *arguments, kind, cwd=tmp_path) for kind in ("docker", "subprocess")]
    assert [done.returncode for done in ends] == [2, 2]
    docker, other = (summary(tmp_path / "runs" / kind)["error"] for kind in ("docker", "subprocess"))
    assert docker == other
    assert where in docker["message"]


def test_servers_on_loopback_are_reached_with_credentials_that_no_file_holds(
    command: Command, tmp_path: Path, s3: str, mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    monkeypatch.setenv("SIGHTLINE_STORE", f"s3://{s3}/team")
    secret = os.environ["AWS_SECRET_ACCESS_KEY"]
    done = command(*DOCKER, "--run-id", "a", *SHORT, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = summary(tmp_path / "runs/a")
    assert found["data"]["snapshot"].startswith(f"s3://{s3}/team/snapshots/")
    assert found["register"]["tracking_uri"] == mlflow_server
    assert not (tmp_path / "runs/mlflow.db").exists()
    for path in (tmp_path / "runs/a").rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes(), path


def test_ctrl_c_ends_the_container_and_the_run_is_interrupted(tmp_path: Path, client: DockerClient) -> None:
    folder = tmp_path / "runs" / "a"
    with training(folder, client) as (run, _):
        run.send_signal(signal.SIGINT)
        output, _ = run.communicate(timeout=60)
        assert run.returncode == 130, output
        assert engine.of_run(client, folder) == []
    found = summary(folder)
    assert (found["status"], found["error"]["kind"], found["error"]["stage"]) == ("failed", "interrupted", "train")
    assert [stage["status"] for stage in found["stages"]][:3] == ["done", "failed", "skipped"]
    assert "exit code" not in output


def test_a_second_ctrl_c_kills(tmp_path: Path, client: DockerClient) -> None:
    folder = tmp_path / "runs" / "a"
    with training(folder, client) as (run, container):
        container.exec_run(["python3", "-c", STOP])
        run.send_signal(signal.SIGINT)
        time.sleep(2)
        assert run.poll() is None  # it waits for the container, which cannot end by itself
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=20)
        assert run.returncode == 130
        assert engine.of_run(client, folder) == []
    assert summary(folder)["error"]["kind"] == "interrupted"


def test_the_container_ends_with_a_command_that_is_killed(
    command: Command, tmp_path: Path, client: DockerClient
) -> None:
    folder = tmp_path / "runs" / "a"
    with training(folder, client) as (run, _):
        run.kill()
        run.wait()
        until(lambda: not engine.of_run(client, folder) and not of_run(folder), 60)
    done = command("run", "--data", "nowhere", "--preset", "quickstart", "--run-id", "b", cwd=tmp_path)
    assert "run a was cut off; it is now recorded as failed" in done.stderr
    assert summary(folder)["error"]["kind"] == "interrupted"


def test_a_container_that_nobody_is_left_to_end_is_removed_by_the_next_command(
    command: Command, tmp_path: Path, client: DockerClient
) -> None:
    folder = tmp_path / "runs" / "a"
    with training(folder, client) as (run, container):
        runner = runner_of(run, folder)
        run.kill()
        os.kill(runner, signal.SIGKILL)
        run.wait()
        time.sleep(2)
        container.reload()
        assert container.status == "running"
        done = command("run", "--data", "nowhere", "--preset", "quickstart", "--run-id", "b", cwd=tmp_path)
        assert "run a was cut off; it is now recorded as failed" in done.stderr
        assert engine.of_run(client, folder) == []


@pytest.mark.parametrize("how", ["removed", "killed"])
def test_a_container_that_vanishes_is_a_failed_run(tmp_path: Path, client: DockerClient, how: str) -> None:
    folder = tmp_path / "runs" / "a"
    with training(folder, client) as (run, container):
        container.remove(force=True) if how == "removed" else container.kill()
        output, _ = run.communicate(timeout=60)
        assert run.returncode == 1, output
    error = summary(folder)["error"]
    assert (error["stage"], error["kind"]) == ("train", "internal")
    assert error["message"].startswith("The container of train ")
    assert "removed before it had ended" in error["message"] or "exit code 137: it was killed" in error["message"]
    assert str(folder / "pipeline.log") in error["message"]


def test_an_image_that_is_not_there_is_not_pulled(command: Command, tmp_path: Path) -> None:
    missing = ",".join(f"registry.invalid/sightline-{name}:none" for name in images.NAMES)
    done = command(*DOCKER, "--run-id", "a", cwd=tmp_path, SIGHTLINE_IMAGES=missing)
    assert done.returncode == 2
    shown = " ".join(done.stderr.split())
    assert "has no image registry.invalid/sightline-data:none, registry.invalid/sightline-" in shown
    assert "`make images`" in shown
    assert not (tmp_path / "runs").exists()


def test_gpus_that_the_engine_cannot_give_are_said_before_the_start(client: DockerClient) -> None:
    if "nvidia" in client.info()["Runtimes"]:
        pytest.skip("the engine here gives GPUs to containers")
    reference = images.references()["train"]
    with pytest.raises(ConfigError, match=r"gives no GPUs to containers: .*could not select device driver") as refused:
        engine.check([reference], [reference], "1")
    assert "NVIDIA Container Toolkit" in str(refused.value)
    assert "--gpus 0" in str(refused.value)
    assert client.containers.list(all=True, filters={"ancestor": reference, "status": "created"}) == []
