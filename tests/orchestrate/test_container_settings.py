"""What the container of a task is created with: no engine is needed to see that."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from sightline.config.parameters import PipelineParameters
from sightline.config.presets import resolve
from sightline.errors import ConfigError
from sightline.orchestrate.container_settings import Settings, configuration, environment, executors, settings
from sightline.orchestrate.containers import meaning
from sightline.orchestrate.engine import Traits
from sightline.orchestrate.images import pipeline_file
from sightline.runtime.shared_memory import OTHER, shm_bytes
from sightline.storage.files import file_uri

TASKS = ("validate", "train", "export", "evaluate", "sample", "verdict", "report", "register")
USER = (1000, 1000, [27, 1000])


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No certificates and no choice of GPUs of the machine that runs the tests."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("CUDA_VISIBLE_DEVICES", "SIGHTLINE_WORK", "SIGHTLINE_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)


def made(tmp_path: Path, **parameters: Any) -> Settings:
    runs = tmp_path / "runs"
    given = PipelineParameters(**parameters)
    config = resolve(given.recipe, given.values())
    return settings(given, config, {}, runs=runs, folder=runs / "a", store=f"file://{runs}/store")


def asked(task: str, found: Settings, traits: Traits = Traits(), **variables: str) -> dict[str, Any]:  # noqa: B008
    gpus = executors(pipeline_file().read_text())[task].gpus
    folder = Path("/data/runs/a")
    return configuration(task, found, traits, folder=folder, gpus=gpus, variables=variables, user=USER)


def mounted(arguments: dict[str, Any]) -> dict[str, bool]:
    """Return the mounts: path to whether it can be written. Each lies at its own place."""
    assert all(mount["Source"] == mount["Target"] and mount["Type"] == "bind" for mount in arguments["mounts"])
    return {mount["Target"]: not mount["ReadOnly"] for mount in arguments["mounts"]}


def test_a_container_has_no_rights_and_no_place_to_write_but_the_mounts(tmp_path: Path) -> None:
    arguments = asked("evaluate", made(tmp_path))
    assert (arguments["read_only"], arguments["cap_drop"], arguments["init"]) == (True, ["ALL"], True)
    assert arguments["security_opt"] == ["no-new-privileges:true"]
    assert (arguments["user"], arguments["group_add"]) == ("1000:1000", [27, 1000])
    assert list(arguments["tmpfs"]) == ["/tmp"]
    assert arguments["labels"] == {"sightline.run": "/data/runs/a", "sightline.task": "evaluate"}
    assert not {"privileged", "devices", "volumes", "auto_remove", "pid_mode"} & set(arguments)


def test_engines_that_map_users_or_label_files_are_met(tmp_path: Path) -> None:
    rootless = asked("train", made(tmp_path), Traits(rootless=True))
    assert (rootless["user"], rootless["group_add"]) == ("0:0", [])
    assert asked("train", made(tmp_path), Traits(remapped=True))["userns_mode"] == "host"
    assert "label=disable" in asked("train", made(tmp_path), Traits(selinux=True))["security_opt"]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("gpus", ["0", "2"])
def test_only_train_gets_gpus_and_as_many_as_were_asked_for(tmp_path: Path, task: str, gpus: str) -> None:
    [*requests] = asked(task, made(tmp_path, train_gpus=gpus))["device_requests"]
    wanted = [("nvidia", 2, [["gpu"]])] if (task, gpus) == ("train", "2") else []
    assert [(one["Driver"], one["Count"], one["Capabilities"]) for one in requests] == wanted


def test_gpus_are_those_that_the_user_chose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-abc,1")
    [request] = asked("train", made(tmp_path, train_gpus="2"))["device_requests"]
    assert request["DeviceIDs"] == ["3", "GPU-abc"]
    assert "CUDA_VISIBLE_DEVICES" not in environment({"CUDA_VISIBLE_DEVICES": "3"}, made(tmp_path))


def test_shared_memory_holds_the_batches_that_loaders_prepare(tmp_path: Path) -> None:
    assert shm_bytes(0, 16, 640) == OTHER
    # 8 loaders of train with 4 batches of 16, and 16 of val with 2 of 32: 1536 images of 640 x 640 x 3 bytes
    assert shm_bytes(8, 16, 640) - OTHER == 1536 * 1_228_800
    overrides = '{"train.workers": 4, "train.batch": 32, "train.image_size": 320}'
    on_gpus = made(tmp_path, data="s3://b/d", train_gpus="1", preset="fast", overrides=overrides)
    assert asked("train", on_gpus)["shm_size"] == shm_bytes(4, 32, 320)
    assert asked("train", made(tmp_path, overrides='{"train.workers": 0}'))["shm_size"] == OTHER


def test_runs_are_read_and_only_the_runs_own_folders_written(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    writable = {f"{runs}/a", f"{runs}/store", f"{runs}/mlartifacts", str(tmp_path / "cache")}
    for task in TASKS:
        mounts = mounted(asked(task, made(tmp_path)))
        work = {f"{runs}/work"} if task in ("validate", "train") else set()
        assert {path for path, write in mounts.items() if write} == writable | work, task
        assert mounts[str(runs)] is False


def test_a_store_a_work_folder_and_certificates_elsewhere_are_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGHTLINE_WORK", "scratch")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    runs = tmp_path / "runs"
    found = settings(PipelineParameters(), None, {}, runs=runs, folder=runs / "a", store="team store")
    mounts = mounted(asked("train", found))
    assert mounts[str(tmp_path / "team store")] is True
    assert mounts[str(tmp_path / "scratch")] is True
    assert mounts[str(tmp_path / "ca.pem")] is False
    assert f"{runs}/work" not in mounts
    passed = environment({"SIGHTLINE_WORK": "scratch", "SIGHTLINE_STORE": "team store"}, found)
    assert passed["SIGHTLINE_WORK"] == str(tmp_path / "scratch")
    assert passed["SIGHTLINE_STORE"] == f"file://{tmp_path}/team store"


def test_settings_and_credentials_go_along_and_nothing_else_of_the_environment(tmp_path: Path) -> None:
    found = made(tmp_path)
    mine = {
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "MLFLOW_TRACKING_PASSWORD": "s3cret",
        "SIGHTLINE_S3_ENDPOINT": "http://127.0.0.1:1",
        "https_proxy": "http://proxy",
        "SIGHTLINE_ERROR": "/data/runs/a/error.json",
        "TMPDIR": "/data/runs/a/tmp",
        "SIGHTLINE_STORE": "s3://bucket/x",
    }
    mine["LOGNAME"] = "somebody"
    others = {"SIGHTLINE_COMMAND": "1", "SIGHTLINE_GIT_COMMIT": "x", "PATH": "/x", "HOME": "/x", "GITHUB_TOKEN": "x"}
    passed = environment(mine | others, found)
    assert passed == mine | {"SIGHTLINE_CACHE": str(tmp_path / "cache")}
    assert asked("train", found, **passed)["environment"] == passed
    assert "s3cret" not in found.model_dump_json()


def test_a_name_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    with pytest.raises(ConfigError, match="its name is not UTF-8"):
        made(tmp_path, data=file_uri(folder))


@pytest.mark.parametrize(
    ("code", "out_of_memory", "words"),
    [
        (1, True, "exit code 1: memory ran out, and the kernel killed a process in it"),
        (137, True, "memory ran out"),
        (137, False, "exit code 137: it was killed from outside (`docker kill`"),
        (135, False, "exit code 135 (bus error): /dev/shm, in which loaders hand over images, has 269 MB and was full"),
        (3, False, "The container of train ended with exit code 3."),
    ],
)
def test_an_exit_code_is_said_in_words(tmp_path: Path, code: int, out_of_memory: bool, words: str) -> None:
    assert words in meaning("train", code, out_of_memory, made(tmp_path))


@pytest.mark.parametrize("data", ["/usr", "/tmp", "/"])
def test_a_folder_that_an_image_has_itself_is_refused(tmp_path: Path, data: str) -> None:
    with pytest.raises(ConfigError, match="cannot be mounted into containers") as refused:
        made(tmp_path, data=data)
    assert str(refused.value).startswith(f"{data} ")
    assert "--runner subprocess" in str(refused.value)
