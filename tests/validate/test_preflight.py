"""What validate refuses in a pod of a pipeline run, whose own files are gone when it ends."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline import validate as stage
from sightline.datasets.synthetic import draw
from sightline.errors import ConfigError

Command = Callable[..., subprocess.CompletedProcess[str]]
POD = {"KFP_POD_NAME": "train-x2f-123", "KFP_POD_UID": "0e5f"}
VALIDATE = ("validate", "--data", "data", "--run", "r", "--weights", "yolo11n.yaml")
GONE = "is not set, and a {} in this pod would be gone with it. Set {}, such as {},"
NO_STORE = (
    f"SIGHTLINE_STORE {GONE.format('store', 'SIGHTLINE_STORE', 's3://bucket/prefix')} in the ConfigMap `sightline`"
)
NO_TRACKING = (
    f"MLFLOW_TRACKING_URI {GONE.format('database', 'MLFLOW_TRACKING_URI', 'http://server:5000')} "
    "or SIGHTLINE_TRACKING=off to record nothing, in the ConfigMap `sightline` of the namespace in which the run works"
)


@pytest.fixture(autouse=True)
def nothing_set(private: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SIGHTLINE_STORE", "SIGHTLINE_RUNS", "SIGHTLINE_TRACKING", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("wrong", [(), ("--set", "register.alias=latest")], ids=["data alone", "configuration too"])
def test_a_pod_without_store_and_tracking_is_refused_with_all_other_mistakes(
    wrong: tuple[str, ...], tmp_path: Path, command: Command
) -> None:
    done = command(*VALIDATE, *wrong, cwd=tmp_path, **POD)
    assert done.returncode == 2
    for words in (NO_STORE, NO_TRACKING, "data does not exist", "register.alias: got 'latest'" if wrong else ""):
        assert words in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"cache", "r"}, "nothing embedded was made"


def test_wrong_parameters_of_the_form_come_with_what_the_pod_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in POD.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        stage.resolve("quickstart", {}, "nowhere", ["train_batch: got '-4'"])
    batch, store, data, tracking = caught.value.problems
    assert batch == "train_batch: got '-4'"
    assert store.startswith(NO_STORE)
    assert data.startswith("nowhere does not exist")
    assert tracking.startswith(NO_TRACKING)


def test_a_pod_with_a_store_may_switch_tracking_off_and_may_not_keep_a_database(
    tmp_path: Path, command: Command
) -> None:
    draw(tmp_path / "data")
    pod = {**POD, "SIGHTLINE_STORE": f"file://{tmp_path}/shared-volume"}
    database = f"sqlite:///{tmp_path}/mlflow.db"
    done = command(*VALIDATE, cwd=tmp_path, MLFLOW_TRACKING_URI=database, **pod)
    assert done.returncode == 2
    assert f"MLFLOW_TRACKING_URI is '{database}', and a database in this pod would be gone with it" in done.stderr
    done = command(*VALIDATE, cwd=tmp_path, SIGHTLINE_TRACKING="off", MLFLOW_TRACKING_URI=database, **pod)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r" / "validate" / "validate.json").exists()


def test_one_machine_on_a_cluster_keeps_its_own_store_and_database(tmp_path: Path, command: Command) -> None:
    """A notebook or a CI pod: on Kubernetes, and no task of a pipeline run."""
    draw(tmp_path / "data")
    done = command(*VALIDATE, cwd=tmp_path, KUBERNETES_SERVICE_HOST="10.0.0.1")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "store" / "snapshots").is_dir(), "beside the run's own folder"


def test_a_hook_that_is_not_here_is_named_before_the_data_is_read_and_one_of_another_image_is_left_to_train(
    tmp_path: Path, command: Command
) -> None:
    hook = ("--set", "train.hook=hooks:freeze")
    done = command(*VALIDATE, *hook, cwd=tmp_path)
    assert done.returncode == 2
    assert "train.hook: got 'hooks:freeze', and there is no module 'hooks' here" in done.stderr
    assert "data does not exist" in done.stderr, "all mistakes at once"
    draw(tmp_path / "data")
    image = {"SIGHTLINE_IMAGE": "sightline-data:1"}
    done = command(*VALIDATE, *hook, cwd=tmp_path, **image)
    assert done.returncode == 0, done.stderr


def test_the_source_of_a_hook_is_part_of_what_trains_and_is_not_run(tmp_path: Path, command: Command) -> None:
    draw(tmp_path / "data")
    digests = []
    for source in (None, "raise SystemExit\ndef freeze(trainer): ...\n", "def freeze(trainer): 1\n"):
        hook = ("--set", "train.hook=hooks:freeze") if source else ()
        (tmp_path / "hooks.py").write_text(source or "")
        done = command(*VALIDATE, *hook, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        digests.append(json.loads((tmp_path / "r" / "validate" / "validate.json").read_text())["train_code"])
    assert len(set(digests)) == 3


def test_validate_alone_takes_several_nodes(tmp_path: Path, command: Command) -> None:
    draw(tmp_path / "data")
    done = command(*VALIDATE, "--set", "train.nodes=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
