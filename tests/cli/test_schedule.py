"""`sightline schedule`: the file, what it prints, and its mistakes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import compiled
from tests.helpers.kfp_stand_in import StandIn

Command = Callable[..., subprocess.CompletedProcess[str]]
NIGHTLY = """schedules:
- name: nightly
  cron: "0 2 * * *"
  time_zone: Europe/Berlin
  enabled: true
  parameters: {data: "s3://b/cells"}
"""


def scheduled(
    command: Command, folder: Path, text: str, *arguments: str, deadline: int | None = 3600
) -> subprocess.CompletedProcess[str]:
    compiled.write(folder, deadline=deadline)
    (folder / "s.yaml").write_text(text)
    return command("schedule", "--file", "s.yaml", "--pipeline", "small.yaml", *arguments, cwd=folder)


def test_it_declares_what_the_file_says_and_prints_the_next_starts_in_both_zones(
    command: Command, kfp_server: StandIn, tmp_path: Path
) -> None:
    done = scheduled(command, tmp_path, NIGHTLY)
    assert done.returncode == 0, done.stderr
    assert "nightly: created" in done.stdout
    lines = done.stdout.splitlines()
    starts = [line for line in lines if line.endswith(" UTC")]
    assert len(starts) == 3
    assert all(" 02:00 CE" in line for line in starts)
    assert any(f"sent as 0 0 {hour} * * *" in done.stdout for hour in (0, 1))
    assert "daylight saving: from 20" in done.stdout
    (nightly,) = kfp_server.recurring.values()
    assert nightly.status == "ENABLED"
    done = scheduled(command, tmp_path, NIGHTLY)
    assert "nightly: unchanged" in done.stdout


def test_a_dry_run_shows_the_difference_and_changes_nothing(
    command: Command, kfp_server: StandIn, tmp_path: Path
) -> None:
    done = scheduled(command, tmp_path, NIGHTLY, "--dry-run")
    assert "would be uploaded" in done.stdout
    assert "nightly: would create" in done.stdout
    assert (kfp_server.pipelines, kfp_server.recurring) == ({}, {})
    scheduled(command, tmp_path, NIGHTLY)
    before = dict(kfp_server.recurring)
    done = scheduled(command, tmp_path, NIGHTLY.replace("cells", "more"), "--dry-run")
    assert "nightly: would replace" in done.stdout
    assert 'parameters {"data": "s3://b/cells"}, declared {"data": "s3://b/more"}' in done.stdout
    done = scheduled(command, tmp_path, "schedules: []", "--dry-run", "--json")
    assert json.loads(done.stdout)["schedules"][0]["action"] == "remove"
    assert kfp_server.recurring == before


def test_after_an_upload_submit_names_the_schedules_that_run_another_version(
    command: Command, kfp_server: StandIn, tmp_path: Path
) -> None:
    scheduled(command, tmp_path, NIGHTLY)
    compiled.write(tmp_path, deadline=60)
    done = command("submit", "--no-run", "--pipeline", "small.yaml", cwd=tmp_path)
    assert "nightly still run another version; `make schedule` moves them" in done.stdout
    assert "nightly: replaced" in scheduled(command, tmp_path, NIGHTLY, deadline=60).stdout


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("0 2 * * *", "0 0 30 2 *"), "never comes"),
        (("data:", "dat:"), "nightly: unknown parameter 'dat'; did you mean 'data'?"),
        (("Europe/Berlin", "Mars"), "expected a name of the tz database"),
        (("enabled: true", "enabled: perhaps"), "schedules[0].enabled: got 'perhaps'"),
    ],
)
def test_a_mistake_in_the_file_is_one_message_and_exit_code_2(
    command: Command, kfp_server: StandIn, tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    done = scheduled(command, tmp_path, NIGHTLY.replace(*change))
    assert done.returncode == 2
    assert words in done.stderr
    assert kfp_server.requests == []


def test_a_pipeline_without_a_deadline_is_not_scheduled(command: Command, kfp_server: StandIn, tmp_path: Path) -> None:
    done = scheduled(command, tmp_path, NIGHTLY, deadline=None)
    assert done.returncode == 2
    assert "has no deadline for a whole run" in done.stderr
