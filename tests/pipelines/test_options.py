"""What `make compile` can be asked for: it changes what it says and nothing else, and never the committed file."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.compile import COMMITTED, compiled
from pipelines.options import DAY, HOUR, LONGEST, Options, duration, label, object_name, presets_shm, retries, size
from sightline.config import TrainConfig
from sightline.config.presets import PRESETS
from sightline.orchestrate import images, versions
from sightline.orchestrate.images import pipeline_file
from sightline.runtime.shared_memory import too_much_shared_memory, training_shm_bytes
from tests.helpers.pipeline_spec import Compiled

ROOT = Path(__file__).parents[2]
EVERYTHING = Options(
    shm=8 << 30,
    cache_claim="cells-cache",
    owner="cytology",
    queue="gpus",
    pull_secret="registry",
    train_timeout=12 * HOUR,
    train_retries=1,
    ttl=7 * DAY,
    deadline=2 * DAY,
)


@pytest.fixture(scope="module")
def asked() -> Compiled:
    return Compiled(compiled(EVERYTHING))


def test_every_option_reaches_the_pods_that_it_is_for(asked: Compiled) -> None:
    assert not dataclasses.asdict(EVERYTHING).items() & dataclasses.asdict(Options()).items(), "an option is left out"
    config = asked.platform.platforms["kubernetes"].pipelineConfig
    assert (config.resource_ttl_on_completion, config.active_deadline_seconds) == (7 * DAY, 2 * DAY)
    for stage, pod in asked.pods.items():
        assert pod.pod_metadata.labels["sightline.ml/owner"] == "cytology"
        assert [secret.secret_name for secret in pod.image_pull_secret] == ["registry"]
        claims = {mount.mount_path: mount.constant for mount in pod.pvc_mount}
        fetches = stage in ("validate", "train", "export", "evaluate", "sample")
        assert claims == ({"/tmp/sightline": "cells-cache"} if fetches else {})
        assert ("kueue.x-k8s.io/queue-name" in pod.pod_metadata.labels) == (stage == "train")
    train, validate = asked.pods["train"], asked.pods["validate"]
    assert (train.active_deadline_seconds, train.pod_metadata.labels["kueue.x-k8s.io/queue-name"]) == (43200, "gpus")
    sizes = {volume.mount_path: volume.size_limit for volume in train.empty_dir_mounts}
    assert sizes == {"/tmp": "20Gi", "/dev/shm": "8192Mi"}
    assert validate.pod_metadata.annotations["sightline.ml/train-shm"] == "8192Mi"


def test_the_cache_lies_where_the_images_keep_it() -> None:
    for image in ("data", "train", "infer"):
        text = (ROOT / "images" / image / "Dockerfile").read_text(encoding="utf-8")
        assert "HOME=/tmp " in text
        assert "SIGHTLINE_CACHE=/tmp/sightline " in text
        assert "TMPDIR" not in text, "/tmp"


def test_options_change_no_task_and_no_input_but_how_often_train_is_repeated(asked: Compiled) -> None:
    plain = Compiled(pipeline_file().read_text(encoding="utf-8"))
    policies = [compiled.tasks["train"].pop("retryPolicy") for compiled in (asked, plain)]
    assert [policy["maxRetryCount"] for policy in policies] == [1, 3]
    assert asked.raw == plain.raw


@pytest.mark.parametrize("options", [Options(), EVERYTHING, Options(train_timeout=LONGEST, train_retries=10)])
def test_the_time_for_all_attempts_at_training_ends_none_of_them(options: Options) -> None:
    policy = Compiled(compiled(options)).tasks["train"]["retryPolicy"]
    whole = int(policy["backoffMaxDuration"].removesuffix("s"))
    assert whole == LONGEST or whole > (options.train_retries + 1) * options.train_timeout


def test_a_training_that_is_not_to_be_repeated_is_not() -> None:
    assert "retryPolicy" not in Compiled(compiled(Options(train_retries=0))).tasks["train"]


def test_a_version_with_a_deadline_is_one_that_can_be_scheduled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(images.VARIABLE, ",".join(f"reg.example/sightline-{name}:1" for name in images.NAMES))
    path = tmp_path / "train.yaml"
    path.write_text(compiled(Options(deadline=12 * HOUR)), encoding="utf-8")
    assert versions.package(path).deadline == 12 * HOUR
    assert versions.package().deadline is None


def test_every_preset_fits_into_the_shared_memory_of_training() -> None:
    needs = []
    for preset in PRESETS.values():
        train = preset().train.model_copy(update={"gpus": 1})
        needs.append(training_shm_bytes(train))
        assert too_much_shared_memory(train, Options().shm_text) is None
    assert max(needs) == presets_shm()


def test_a_training_that_needs_more_shared_memory_is_refused_where_there_is_a_ceiling() -> None:
    train = TrainConfig(workers=8, batch=64, image_size=1280, gpus=1)
    problem = too_much_shared_memory(train, "2056Mi") or ""
    assert "train.workers 8, train.batch 64 and train.image_size 1280 together need 29056Mi" in problem
    assert "make compile SHM=29056Mi" in problem
    assert too_much_shared_memory(train, "29056Mi") is None
    assert too_much_shared_memory(train, None) is None, "a run on one machine"
    on_cpu = train.model_copy(update={"gpus": 0})
    assert too_much_shared_memory(on_cpu, "2056Mi") == problem, "loaders hand images over there too"
    assert too_much_shared_memory(on_cpu.model_copy(update={"workers": 0}), "2056Mi") is None


@pytest.mark.parametrize(
    ("parse", "texts"),
    [
        (size, ("8", "8m", "8GB", "much", "-8Gi")),
        (duration, ("soon", "12", "0s", "-1h", "99999999d")),
        (label, ("a b", "-a", "a" * 64)),
        (object_name, ("Cache", "a_b", "a" * 254)),
        (retries, ("-1", "11", "two", "1.5")),
    ],
)
def test_a_value_that_a_cluster_would_refuse_is_refused(parse: Callable[[str], object], texts: tuple[str, ...]) -> None:
    for text in texts:
        with pytest.raises(ValueError, match=r"^got '.*expected"):
            parse(text)
    assert (size("8Gi"), size("1.5Gi"), duration("90m"), retries("0")) == (8 << 30, 3 << 29, 5400, 0)


def test_a_mistake_in_an_option_is_one_message_and_nothing_is_written() -> None:
    before = (ROOT / COMMITTED).read_bytes()
    command = [sys.executable, "-m", "pipelines.compile", "--deadline", "soon"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "got 'soon', expected a time such as 90m, 12h or 3d." in " ".join(done.stderr.replace("│", " ").split())
    assert (ROOT / COMMITTED).read_bytes() == before


def test_make_passes_options_on() -> None:
    values = ("SHM=8Gi", "PULL_SECRET=registry", "DEADLINE=12h", "TRAIN_TIMEOUT=2d", "TRAIN_RETRIES=0")
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", "compile", *values], cwd=ROOT, capture_output=True, text=True, check=True
    )
    call = " ".join(done.stdout.splitlines()[-1].split())
    for option in ('--shm "8Gi"', '--pull-secret "registry"', '--train-timeout "2d" --train-retries "0"'):
        assert option in call
    assert call.endswith(' --deadline "12h"')
