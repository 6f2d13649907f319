"""`sightline checkpoints prune`: abandoned trainings go, those that are going on and all else stay."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sightline.cli.checkpoints import app
from sightline.errors import ConfigError
from sightline.storage import FileStore, Store, open_store
from sightline.storage.lock import Lock
from sightline.train.remote import Remote, Timing
from tests.helpers.checkpoints import TRAINING, checkpoint

DAY = 24 * 3600
OTHER = "0b" * 32


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    """The store that commands use by default."""
    return FileStore(tmp_path / "store")


def checkpoints(folder: Path, *arguments: str) -> str:
    command = ["prune", "--runs", str(folder / "runs"), *arguments]
    done = CliRunner().invoke(app, command, catch_exceptions=False, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.stdout


def as_json(folder: Path, *arguments: str) -> Any:
    return json.loads(checkpoints(folder, *arguments, "--json"))


def pushed(store: Store, work: Path, key: str = TRAINING) -> None:
    """Train an epoch, and leave it in the store and in the work folder."""
    with Remote(store, key, work, run="monday", name="run monday", timing=Timing(beat=0.1)) as remote:
        assert remote.claim() is None
        remote.offer(checkpoint(work, 1, key=key))


def age(folder: Path, days: float) -> None:
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (time.time() - days * DAY,) * 2)


def test_what_nobody_goes_on_with_is_listed_with_its_size_and_goes_when_told(store: FileStore, tmp_path: Path) -> None:
    pushed(store, tmp_path / "pod")
    pushed(store, tmp_path / "other pod", OTHER)
    store.put_bytes("packs/a.tar", b"a")
    age(tmp_path / "store", 8)
    store.put_bytes(f"checkpoints/{OTHER}/beat-000001.json", b"{}")
    before = list(store.list())
    size = sum(size for key, size in before if TRAINING in key)
    text = checkpoints(tmp_path)
    assert f"would delete {store.uri}/checkpoints/{TRAINING}: " in text
    assert "would delete 1 abandoned trainings" in text
    assert "nothing is deleted yet: add --yes" in text
    assert list(store.list()) == before
    assert "nothing is older than 9d" in checkpoints(tmp_path, "--older-than", "9d", "--yes")
    assert list(store.list()) == before

    document = as_json(tmp_path, "--yes")
    assert [one["training"] for one in document["trainings"]] == [TRAINING]
    assert (document["done"], document["bytes"]) == (True, size)
    assert list(store.list()) == [entry for entry in before if TRAINING not in entry[0]]
    assert as_json(tmp_path, "--yes")["trainings"] == []


@pytest.mark.server
def test_a_bucket_is_pruned_too(s3: str, tmp_path: Path) -> None:
    store = open_store(f"s3://{s3}/lab")
    pushed(store, tmp_path / "pod")
    time.sleep(1.1)
    document = as_json(tmp_path, "--store", store.uri, "--older-than", "0h", "--yes")
    assert [one["place"] for one in document["trainings"]] == [f"{store.uri}/checkpoints/{TRAINING}"]
    assert list(store.list()) == []


def test_work_folders_go_unless_a_process_holds_them_or_they_are_young(store: FileStore, tmp_path: Path) -> None:
    work = tmp_path / "runs/work"
    held, old, young = (work / (digits * 32) for digits in ("a1", "b2", "c3"))
    for folder in (held, old, young):
        checkpoint(folder, 1, size=5000)
        folder.with_name(f"{folder.name}.lock").touch()
    (work / "mine").mkdir()
    age(work, 8)
    checkpoint(young, 2)
    with Lock(work / f"{held.name}.lock") as lock:
        assert lock.take(wait=False)
        document = as_json(tmp_path)
        assert [one["place"] for one in document["trainings"]] == [str(old)]
        assert document["bytes"] > 5000
        assert old.exists()
        as_json(tmp_path, "--yes")
    left = {path.name for path in work.iterdir()}
    assert left == {held.name, f"{held.name}.lock", young.name, f"{young.name}.lock", "mine"}


def test_an_age_that_is_none_is_refused(store: FileStore, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--older-than: got '3 days', expected a number of hours, days or weeks"):
        checkpoints(tmp_path, "--older-than", "3 days")
