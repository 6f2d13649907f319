"""Checkpoints in the work folder: what is damaged or foreign is named, and the one before is used."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from sightline.config import TrainConfig
from sightline.runtime.stage_frame import moment
from sightline.train import checkpoints
from sightline.train.checkpoints import Manifest
from sightline.train.decisions import first

KEY = "5e" * 32


def keep(folder: Path, epoch: int, *, best: int = 1, key: str = KEY, period: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    state = checkpoints.state_path(folder, epoch)
    state.write_bytes(f"state after {epoch}".encode() * 100)
    config = TrainConfig(save_period=period)
    manifest = Manifest(
        key=key,
        epoch=epoch,
        sha256=hashlib.sha256(state.read_bytes()).hexdigest(),
        size_bytes=state.stat().st_size,
        best_epoch=best,
        fitness=0.5,
        finished=False,
        world_size=1,
        seed=0,
        snapshot="11" * 32,
        config=config,
        settings=first(config),
        engine="ultralytics 8.4.190",
        rows=[{"epoch": float(epoch), "time": 1.0}],
        measured=[],
        created_at=moment(),
    )
    checkpoints.write_manifest(folder, manifest)
    return state


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_two_and_the_best_are_kept_and_epochs_of_a_period_for_those_who_ask(tmp_path: Path) -> None:
    for epoch in range(1, 8):
        keep(tmp_path / "plain", epoch, best=min(epoch, 3))
        keep(tmp_path / "period", epoch, best=epoch, period=2)
    assert kept(tmp_path / "plain") == [f"epoch-000{n}.{end}" for n in (3, 6, 7) for end in ("json", "pt")]
    assert kept(tmp_path / "period") == [f"epoch-000{n}.{end}" for n in (2, 4, 6, 7) for end in ("json", "pt")]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("cut", "it has 700 bytes, and was written with 1300"),
        ("changed", "its sha256 is"),
        ("gone", "its file is missing"),
        ("manifest", "its manifest cannot be read"),
        ("foreign", "it belongs to another training (abababababab, expected 5e5e5e5e5e5e)"),
        ("renamed", "its manifest is that of epoch-0003.pt"),
    ],
)
def test_a_checkpoint_that_cannot_be_trusted_is_named_and_the_one_before_is_used(
    tmp_path: Path, damage: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(tmp_path, 1)
    keep(tmp_path, 2)
    state = keep(tmp_path, 3, key="ab" * 32 if damage == "foreign" else KEY)
    manifest = state.with_suffix(".json")
    if damage == "cut":
        with open(state, "r+b") as file:
            file.truncate(700)
    elif damage == "changed":
        state.write_bytes(b"x" * state.stat().st_size)
    elif damage == "gone":
        state.unlink()
    elif damage == "manifest":
        manifest.write_bytes(manifest.read_bytes()[:-20])
    elif damage == "renamed":
        manifest.rename(tmp_path / "epoch-0009.json")
        state.rename(tmp_path / "epoch-0009.pt")
    found = checkpoints.newest(tmp_path, KEY)
    assert found is not None
    assert found.epoch == 2
    said = capsys.readouterr().err
    assert words in said
    assert ("epoch-0009.pt" if damage == "renamed" else "epoch-0003.pt") in said
    assert checkpoints.newest_epoch(tmp_path) == 2  # what was refused counts no more


def test_the_best_stays_until_two_newer_ones_agree_on_another(tmp_path: Path) -> None:
    for epoch, best in ((1, 1), (2, 2), (3, 2), (4, 4), (5, 4)):
        keep(tmp_path, epoch, best=best)
        if epoch == 4:
            assert "epoch-0002.pt" in kept(tmp_path)
    assert "epoch-0002.pt" not in kept(tmp_path)


def test_without_any_good_checkpoint_a_training_begins_at_the_start(tmp_path: Path) -> None:
    assert checkpoints.newest(tmp_path / "nothing", KEY) is None
    keep(tmp_path, 1).unlink()
    assert checkpoints.newest(tmp_path, KEY) is None
    checkpoints.tidy(tmp_path)
    assert checkpoints.newest_epoch(tmp_path) == 0
