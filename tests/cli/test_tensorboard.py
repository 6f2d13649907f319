"""`sightline tensorboard`: a real server over the curves of runs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sightline.datasets.synthetic import draw
from sightline.run_store import RunStore, pack
from sightline.storage import open_store
from sightline.train.event_file import EventFile
from sightline.train.pushed import contents
from tests.helpers.epochs import MEASURED

pytestmark = pytest.mark.timeout(120)
RUN = "2a4d9a05-0000-4000-8000-000000000000"


def asked(address: str, path: str) -> Any:
    """Return what the server answers; nothing where it has not read of that yet."""
    try:
        with urllib.request.urlopen(f"{address}data/{path}", timeout=20) as answer:
            return json.load(answer)
    except urllib.error.HTTPError:  # 404
        return []


def until(true: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@contextlib.contextmanager
def serving(run: str, cwd: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command in a process of its own: its address, and the process, which gets a Ctrl-C at the end."""
    command = [sys.executable, "-m", "sightline", "tensorboard", "--run", run, "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout
            [address] = re.findall(r"^TensorBoard is at (http://127\.0\.0\.1:\d+/) ", server.stdout.readline())
            yield address, server
        finally:
            server.send_signal(signal.SIGINT)


def test_it_shows_a_training_while_it_goes_on_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    made = EventFile(tmp_path / "runs" / "mine" / "train" / "tensorboard", "attempt-1")
    made.begin([], [])
    with serving("mine", tmp_path) as (address, server):
        made.add({"epoch": 1.0, "time": 9.0, "train/box_loss": 2.5}, MEASURED)
        until(lambda: asked(address, "runs") == ["mine"])
        scalars = "plugin/scalars/scalars?run=mine&tag=train/box_loss"
        until(lambda: [point[1:] for point in asked(address, scalars)] == [[1, 2.5]])
    assert server.returncode == 130


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_run_elsewhere_is_followed_by_what_train_pushes_to_the_store(
    s3: str, command: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_STORE", f"s3://{s3}/lab")
    draw(tmp_path / "there" / "data")
    small = ("train.epochs=3", "train.image_size=64", "train.batch=16", "train.augment.mosaic=0")
    options = [text for value in small for text in ("--set", value)]
    start = ("validate", "--data", "data", "--weights", "yolo11n.yaml", "--run", "run", *options)
    done = command(*start, cwd=tmp_path / "there")
    assert done.returncode == 0, done.stderr
    store = open_store(f"s3://{s3}/lab")
    RunStore(store, RUN).leave([pack("validate", tmp_path / "there" / "run" / "validate", store, RUN)])
    train = [sys.executable, "-m", "sightline", "train", "--run", "run"]
    with (
        subprocess.Popen(train, cwd=tmp_path / "there", env={**os.environ, "SIGHTLINE_RUN_ID": RUN}) as training,
        serving(RUN, tmp_path) as (address, _),
    ):
        scalars = f"plugin/scalars/scalars?run={RUN}&tag=train/box_loss"
        until(lambda: asked(address, scalars), 200)
        assert training.poll() is None, "it is seen while it trains"
        assert training.wait(200) == 0
    [key] = {entry.key.split("/")[1] for entry in store.entries("checkpoints/")}
    assert contents(store, key).keys == [], "what was pushed goes with success"


def test_a_port_in_use_is_one_message(command: Callable, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("tensorboard", "--port", str(port), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == (
        f"error: --port: cannot listen on port {port} of 127.0.0.1: address already in use. Give another one, or 0."
    )


def test_a_run_that_nobody_knows_is_one_message(command: Callable, tmp_path: Path) -> None:
    done = command("tensorboard", cwd=tmp_path)
    assert (done.returncode, done.stderr.strip()) == (
        2,
        "error: --runs: there is no folder 'runs'. Name one run with --run.",
    )
    done = command("tensorboard", "--run", "mine", cwd=tmp_path)
    assert done.returncode == 2
    assert "--run: there is no folder 'mine' or 'runs/mine', and " in done.stderr
    assert "knows no run of this id or name" in done.stderr
    (tmp_path / "many" / "one" / "train").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    for folder, words in {
        "many": "'many' is a folder of runs, and no run",
        "many/one/train": "'many/one/train' is a part of a run, and no run",
        "empty": "'empty' is no run: no stage has worked in it",
    }.items():
        done = command("tensorboard", "--run", folder, "--port", "0", cwd=tmp_path)
        assert done.returncode == 2
        assert f"error: --run: {words}" in done.stderr
