"""Predictions go with the snapshot that they are for: never before it, and never those of a snapshot that stays."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from sightline import predictions
from sightline.cli.dataset import app
from sightline.snapshots.prune import Choice, prune_store
from sightline.storage import Store, open_store
from sightline.storage.files import FileStore
from tests.helpers.cells import Run, Scene, right, run_of

NOW = ("--grace", "0h", "--yes")
FOREIGN = (f"predictions/{'7' * 64}.npz", "predictions/mine/best.npz")  # keys that name no snapshot


class Judged(NamedTuple):
    """Two snapshots in a store, each with the predictions of two models."""

    store: Store
    runs: list[Run]
    keys: list[list[str]]

    @property
    def digests(self) -> list[str]:
        return [run.snapshot.rsplit("/", 1)[-1] for run in self.runs]

    def left(self) -> set[str]:
        return {key for key, _ in self.store.list("predictions/")}


def judged(uri: str, folder: Path) -> Judged:
    runs, keys = [], []
    for name, scenes in {"a": {"a.png": right(2)}, "b": {"a.png": right(2), "b.png": Scene()}}.items():
        run = run_of(folder / name, scenes, uri)
        written = []
        for scale in (1.0, 0.9):
            run.ship(scale=scale)
            written.append(run.evaluated().predictions.uri.removeprefix(f"{open_store(uri).uri}/"))
        runs.append(run)
        keys.append(written)
    for key in FOREIGN:
        open_store(uri).put_bytes(key, b"not ours")
    return Judged(open_store(uri), runs, keys)


def prune(*arguments: str) -> Any:
    done = CliRunner().invoke(app, ["prune", *arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", ["file", pytest.param("s3", marks=pytest.mark.server)])
def test_predictions_go_with_their_snapshot_and_those_of_another_stay(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    uri = f"s3://{request.getfixturevalue('s3')}/lab" if kind == "s3" else str(tmp_path / "lab")
    it = judged(uri, tmp_path)
    total = sum(size for _, size in it.store.list())
    document = prune(it.digests[0], *NOW, "--store", uri)
    assert document["predictions"] == sorted(it.keys[0])
    assert it.left() == {*it.keys[1], *FOREIGN}
    assert document["bytes"] == total - sum(size for _, size in it.store.list())
    evaluated = it.runs[1].evaluated()
    (it.runs[1].evaluate / "predictions.npz").unlink()
    assert predictions.load(evaluated, it.runs[1].evaluate)


def test_without_yes_they_are_listed_and_stay(tmp_path: Path) -> None:
    it = judged(str(tmp_path / "store"), tmp_path)
    before = it.left()
    document = prune(it.digests[0], "--grace", "0h")
    assert (document["done"], document["predictions"]) == (False, sorted(it.keys[0]))
    arguments = ["prune", "--keep", "0", "--grace", "0h"]
    text = CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "200"}).stdout
    for digest in it.digests:
        assert f"would delete predictions of 2 evaluations on {digest[:12]}" in text
    assert it.left() == before


def test_young_ones_are_spared_until_the_next_time(tmp_path: Path) -> None:
    it = judged(str(tmp_path / "store"), tmp_path)
    old, young = it.keys[0]
    long_ago = time.time() - 48 * 3600
    os.utime(tmp_path / "store" / old, (long_ago, long_ago))
    assert prune(it.digests[0], "--yes")["predictions"] == [old], "an evaluation may be under way"
    assert young in it.left()
    os.utime(tmp_path / "store" / young, (long_ago, long_ago))
    assert prune("--keep", "9", "--yes")["predictions"] == [young]
    assert it.left() == {*it.keys[1], *FOREIGN}


class Interrupted(FileStore):
    """A store whose process is stopped once the manifests are gone."""

    def delete(self, keys: Iterable[str]) -> None:
        keys = list(keys)
        if not all(key.startswith("snapshots/") for key in keys):
            raise KeyboardInterrupt
        super().delete(keys)


def test_an_interrupted_prune_is_finished_by_the_next_one(tmp_path: Path) -> None:
    it = judged(str(tmp_path / "store"), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        prune_store(Interrupted(tmp_path / "store"), Choice([it.digests[0]], []), grace=0, yes=True)
    assert it.left() == {*it.keys[0], *it.keys[1], *FOREIGN}
    assert prune("--keep", "9", *NOW)["predictions"] == sorted(it.keys[0])
    assert it.left() == {*it.keys[1], *FOREIGN}


class PublishedMeanwhile(FileStore):
    """A store into which another process publishes the snapshot again, once its manifest is gone."""

    def delete(self, keys: Iterable[str]) -> None:
        keys = list(keys)
        manifests = {key: self.get_bytes(key) for key in keys if key.startswith("snapshots/")}
        super().delete(keys)
        for key, data in manifests.items():
            self.put_bytes(key, data)


def test_a_snapshot_that_is_published_again_meanwhile_keeps_everything(tmp_path: Path) -> None:
    it = judged(str(tmp_path / "store"), tmp_path)
    before = list(it.store.list())
    prune_store(PublishedMeanwhile(tmp_path / "store"), Choice([it.digests[0]], []), grace=0, yes=True)
    assert list(it.store.list()) == before
