"""`sightline tensorboard`: a real server over the curves of runs."""

from __future__ import annotations

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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sightline.train.event_file import EventFile
from sightline.train.history import Measured

pytestmark = pytest.mark.timeout(120)
TAKEN = Measured(ended_at="2026-11-21T08:00:00.000+00:00", images_per_second=40.0, memory_bytes=1 << 30)


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


def test_it_shows_a_training_while_it_goes_on_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    made = EventFile(tmp_path / "runs" / "mine" / "train" / "tensorboard", "attempt-1")
    made.begin([], [])
    command = [sys.executable, "-m", "sightline", "tensorboard", "--run", "mine", "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout
            [address] = re.findall(r"^TensorBoard is at (http://127\.0\.0\.1:\d+/) ", server.stdout.readline())
            made.add({"epoch": 1.0, "time": 9.0, "train/box_loss": 2.5}, TAKEN)
            until(lambda: asked(address, "runs") == ["mine"])
            scalars = "plugin/scalars/scalars?run=mine&tag=train/box_loss"
            until(lambda: [point[1:] for point in asked(address, scalars)] == [[1, 2.5]])
        finally:
            server.send_signal(signal.SIGINT)
        _, said = server.communicate(timeout=20)
    assert server.returncode == 130
    assert said.strip() == ""


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
