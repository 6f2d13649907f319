"""The command that makes Secrets out of the environment."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
from pathlib import Path

import yaml

from tests.helpers.manifests import ROOT, tool

AWKWARD = "p$\"' =x # y\\n "


def secrets(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command with these variables alone, and with no cluster."""
    variables = {
        "PATH": os.environ["PATH"],
        "KUBECTL": tool("kubectl"),
        "KUBECONFIG": str(folder / "none"),
        **variables,
    }
    return subprocess.run([ROOT / "manifests" / "secrets.sh"], env=variables, capture_output=True, text=True)


def test_values_arrive_as_they_are(tmp_path: Path) -> None:
    done = secrets(tmp_path, AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY=AWKWARD, POSTGRES_PASSWORD=" p ", PRINT="1")
    made = {each["metadata"]["name"]: each for each in yaml.safe_load_all(done.stdout) if each}
    assert (done.returncode, set(made)) == (0, {"sightline-s3", "sightline-postgres"})
    assert {each["metadata"]["namespace"] for each in made.values()} == {"kubeflow"}
    kept = {key: base64.b64decode(value).decode() for each in made.values() for key, value in each["data"].items()}
    assert kept == {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": AWKWARD, "POSTGRES_PASSWORD": " p "}


def test_halves_are_named_all_at_once_and_nothing_is_made(tmp_path: Path) -> None:
    done = secrets(tmp_path, AWS_ACCESS_KEY_ID="key", MINIO_ROOT_PASSWORD="hidden", POSTGRES_PASSWORD="p", PRINT="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "sightline-s3 also needs AWS_SECRET_ACCESS_KEY",
        "sightline-minio also needs MINIO_ROOT_USER",
    ]


def test_a_line_break_is_refused(tmp_path: Path) -> None:
    done = secrets(tmp_path, POSTGRES_PASSWORD="one\ntwo", PRINT="1")
    assert (done.returncode, done.stderr) == (
        2,
        "POSTGRES_PASSWORD has a line break in it: sightline-postgres cannot hold it\n",
    )


def test_an_empty_environment_is_told_what_to_hold(tmp_path: Path) -> None:
    done = secrets(tmp_path)
    assert done.returncode == 2
    assert "sightline-mlflow MLFLOW_TRACKING_USERNAME MLFLOW_TRACKING_PASSWORD" in done.stderr


def test_no_value_is_an_argument_or_is_printed(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    recording = tmp_path / "kubectl"
    recording.write_text(f'#!/bin/sh\necho "$@" >>{calls}\nexec {tool("kubectl")} "$@"\n')
    recording.chmod(recording.stat().st_mode | stat.S_IXUSR)
    done = secrets(tmp_path, POSTGRES_PASSWORD="hidden", KUBECTL=str(recording), NAMESPACE="team")
    assert done.returncode != 0  # there is no cluster
    assert "hidden" not in done.stdout + done.stderr + calls.read_text()
    assert sorted(line.split()[0] for line in calls.read_text().splitlines()) == ["apply", "create"]
    assert "--namespace team" in calls.read_text()
