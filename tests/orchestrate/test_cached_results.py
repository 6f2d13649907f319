"""Results of former runs: taken while their files are what they were, and done again when not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kfp import dsl
from kfp.local import cache

from sightline.documents.stage_record import write_records
from sightline.orchestrate import cached_results
from sightline.run_store import pack
from sightline.runtime import progress
from sightline.storage import FileStore

OUTPUTS = {"name": "x", "uri": ""}


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """kfp's cache behind our check, with one entry: a folder with a checkpoint in it."""
    monkeypatch.setattr(cache, "LocalCache", cache.LocalCache)  # put back at the end
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "events"))
    cached_results.verify_cached_files()
    store = cache.LocalCache(str(tmp_path / "cache"))
    folder = tmp_path / "train" / "folder"
    folder.mkdir(parents=True)
    (folder / "best.pt").write_bytes(b"weights")
    (folder / "train.json").write_text("{}")
    (tmp_path / "train" / "metrics").write_text("{}")
    return store, folder, store.compute_key("comp-train", "image", ["run"], {})


def put(store: Any, folder: Path, key: str) -> None:
    store.put(
        key,
        {
            "folder": dsl.Artifact(name="folder", uri=str(folder)),
            "metrics": dsl.Metrics(name="metrics", uri=str(folder.with_name("metrics"))),
            "code": "abc",
        },
    )


DAMAGES: dict[str, tuple[Callable[[Path, Path], Any], str]] = {
    "truncated": (lambda folder, _: (folder / "best.pt").write_bytes(b"wei"), "best.pt was changed or damaged"),
    "altered": (lambda folder, _: (folder / "best.pt").write_bytes(b"Weights"), "best.pt was changed or damaged"),
    "missing": (lambda folder, _: (folder / "train.json").unlink(), "train.json is gone"),
    "a folder": (
        lambda folder, _: ((folder / "best.pt").unlink(), (folder / "best.pt").mkdir()),
        "best.pt cannot be read (Is a directory)",
    ),
    "no metrics": (lambda folder, _: folder.with_name("metrics").unlink(), "metrics is gone"),
    "empty entry": (lambda _, entry: entry.write_text(""), "its record is damaged"),
    "cut entry": (lambda _, entry: entry.write_text(entry.read_text()[:40]), "its record is damaged"),
    "other entry": (lambda _, entry: entry.write_text("[1]"), "its record is damaged"),
    "no list": (lambda _, entry: entry.with_suffix(".files").unlink(), "the list of its files is gone"),
    "other list": (lambda _, entry: entry.with_suffix(".files").write_text("3"), "the list of its files is gone"),
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_result_is_done_again_and_said(whole: Any, tmp_path: Path, how: str) -> None:
    store, folder, key = whole
    put(store, folder, key)
    assert store.get(key)["folder"].uri == str(folder)
    assert store.get(key)["code"] == "abc"
    damage, words = DAMAGES[how]
    damage(folder, Path(store._entry_path(key)))
    assert store.get(key) is None
    [event], _ = progress.events(tmp_path / "events")
    assert (event["event"], event["stage"]) == ("note", "train")
    assert words in event["note"]
    assert event["note"].startswith("was done before, but ")
    assert event["note"].endswith("; done again")


def test_a_result_whose_files_the_store_lost_is_done_again(whole: Any, tmp_path: Path) -> None:
    store, folder, _ = whole
    kept = FileStore(tmp_path / "store")
    record = pack("train", folder, kept, "first")
    artifact = tmp_path / "checkpoint"
    write_records({"train": record}, artifact)
    key = store.compute_key("comp-train", "image", ["other"], {})
    store.put(key, {"checkpoint": dsl.Model(name="checkpoint", uri=str(artifact))})
    assert store.get(key) is not None
    (tmp_path / "store" / "files" / record.files["best.pt"].sha256).write_bytes(b"wei")
    assert store.get(key) is None
    [event], _ = progress.events(tmp_path / "events")
    assert "(best.pt) was changed or damaged; done again" in event["note"]


def test_a_result_done_again_is_known_again(whole: Any) -> None:
    store, folder, key = whole
    put(store, folder, key)
    (folder / "best.pt").write_bytes(b"better")
    assert store.get(key) is None
    put(store, folder, key)
    assert store.get(key) is not None
    assert store.get(store.compute_key("comp-train", "image", ["run"], {"seed": 1})) is None
