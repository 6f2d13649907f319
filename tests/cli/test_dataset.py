"""`sightline dataset`: what is in a store is listed, shown, compared, and deleted only when nothing needs it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sightline.cli.dataset import app
from sightline.config import RunConfig
from sightline.documents import Architecture, ValidateDocument, Weights
from sightline.errors import ConfigError, SightlineError, StageInputError, StorageUsageError
from sightline.snapshots import Published, fetch, publish
from sightline.storage import Store, open_store
from tests.helpers.memory import CAT, DOG, MemoryDataset, filled

DAY = 24 * 3600


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The store that commands use by default."""
    return open_store(f"{tmp_path}/store")


def dataset(*arguments: str) -> str:
    """Run a command and return what it prints on stdout; errors come as they are raised."""
    done = CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.stdout


def as_json(*arguments: str) -> Any:
    return json.loads(dataset(*arguments, "--json"))


def refused(kind: type[SightlineError], *arguments: str) -> SightlineError:
    with pytest.raises(kind) as caught:
        dataset(*arguments)
    return caught.value


def three(store: Store, folder: Path) -> tuple[MemoryDataset, list[Published]]:
    """Publish a set, one with another image, and one with another label."""
    data = filled(folder)
    published = [publish(data, store, source="first")]
    data.put("train", "000.png", (CAT, DOG), seed="changed")
    published.append(publish(data, store))
    data.relabel("val", "008.png", DOG)
    published.append(publish(data, store))
    return data, published


def age(store: Store, folder: Path, days: float, prefix: str = "") -> None:
    """Make what is in a store on the disk older."""
    for entry in list(store.entries(prefix)):
        path = folder / entry.key
        os.utime(path, (time.time(), entry.modified - days * DAY))


def fetched(published: Published, data: MemoryDataset) -> None:
    """See that a snapshot is complete."""
    snap = fetch(published.uri)
    for sample in data.samples():
        assert (snap.root / "images" / sample.split / sample.name).read_bytes() == Path(sample.image).read_bytes()


def document_of(published: Published) -> ValidateDocument:
    """What validate leaves in a run directory."""
    return ValidateDocument(
        source="here",
        format="yolo",
        snapshot=published.uri,
        digest=published.digest,
        classes=["cat", "dog"],
        splits={},
        split_rule=None,
        uploaded_bytes=0,
        findings=[],
        dropped_images=0,
        dropped_boxes=0,
        weights=Weights(source="yolo11n.yaml", reference=Architecture(architecture="yolo11n.yaml"), licence="none"),
        config=RunConfig(),
        train_code="c0" * 32,
        infer_code="c1" * 32,
        started_at="2026-11-28T12:00:00.000+00:00",
        seconds=1.0,
    )


# --- list and show


def test_list_shows_the_newest_first_with_counts(store, tmp_path):
    assert "no snapshots in file://" in dataset("list")
    assert as_json("list")["snapshots"] == []
    _, published = three(store, tmp_path / "in")
    lines = dataset("list").splitlines()
    assert lines[0].split() == ["snapshot", "created", "train", "val", "test", "boxes", "classes", "size"]
    assert {line.split()[0] for line in lines[1:]} == {one.digest[:12] for one in published}
    rows = {row["digest"]: row for row in as_json("list")["snapshots"]}
    row = rows[published[0].digest]
    assert (row["images"], row["boxes"], row["classes"]) == ({"train": 16, "val": 2, "test": 2}, 20, 2)
    assert (row["source"], row["uri"]) == ("first", published[0].uri)
    assert 40_000 < row["bytes"] < 50_000


def test_list_tells_what_it_cannot_read_and_shows_the_rest(store, tmp_path):
    publish(filled(tmp_path / "in"), store)
    store.put_bytes(f"snapshots/{'0' * 64}/manifest.json", b'{"schema_version": 1}')
    document = as_json("list")
    assert len(document["snapshots"]) == 1
    assert "is damaged or of another version" in document["unreadable"][0]


def test_show_tells_classes_and_what_is_shared(store, tmp_path):
    _, published = three(store, tmp_path / "in")
    text = dataset("show", published[0].digest[:8])
    assert published[0].digest in text
    assert "from first" in text
    assert "shared with 2 other snapshots" in text
    document = as_json("show", published[1].digest)
    assert document["boxes"] == {
        "cat": {"train": 8, "val": 2, "test": 0},
        "dog": {"train": 9, "val": 0, "test": 2},
    }
    assert (document["packs"], document["shared_with"]) == (4, 2)
    assert 0 < document["shared_bytes"] <= document["bytes"]


@pytest.mark.parametrize("way", ["digest", "prefix", "uri", "run", "validate.json"])
def test_a_snapshot_is_named_in_many_ways(store, tmp_path, way):
    published = publish(filled(tmp_path / "in"), store)
    run = tmp_path / "runs" / "mine"
    if way in ("run", "validate.json"):
        document_of(published).write(run / "validate")
    name = {
        "digest": published.digest,
        "prefix": published.digest[:6],
        "uri": published.uri,
        "run": str(run),
        "validate.json": str(run / "validate" / "validate.json"),
    }[way]
    assert as_json("show", name)["digest"] == published.digest


def test_names_that_fit_none_or_several_are_reported_in_one_message(store, tmp_path):
    published = publish(filled(tmp_path / "in"), store)
    head = published.digest[:8]
    others = [head + digit * 56 for digit in "01"]
    for digest in others:
        store.put_bytes(f"snapshots/{digest}/manifest.json", b"{}")
    error = refused(StageInputError, "show", head)
    assert error.message == f"'{head}' can be any of 3 snapshots; give more digits:"
    assert sorted(error.problems) == sorted([*others, published.digest])
    assert f"{store.uri} has no snapshot whose digest begins with 'ffffff'" in str(
        refused(StageInputError, "show", "ffffff")
    )
    for name in (head[:5], "runs/none", "FFFFFF"):
        assert "expected at least 6 digits" in refused(StageInputError, "show", name).message


def test_markup_in_names_is_shown_as_it_is(store, tmp_path):
    data = MemoryDataset(tmp_path / "in", ["[red]cat[/]"])
    data.put("train", "[bold]a.png", (CAT,))
    first = publish(data, store, source="[link]x")
    data.put("train", "[bold]b.png", (CAT,))
    second = publish(data, store)
    assert "[link]x" in dataset("show", first.digest)
    assert "[red]cat[/]" in dataset("show", first.digest)
    assert "train/[bold]b.png" in dataset("diff", first.digest, second.digest)


# --- diff


def test_diff_tells_totals_examples_and_classes(store, tmp_path):
    _, published = three(store, tmp_path / "in")
    text = dataset("diff", published[0].digest[:10], published[2].digest[:10])
    assert "images 20 → 20: 1 changed, 2 relabelled" in text
    assert "boxes 20 → 21: 2 added, 1 removed" in text
    assert "  val/008.png: dog at (0.25, 0.25; 0.10 x 0.10)" in text
    assert [line.split() for line in text.splitlines() if line.startswith(("cat", "dog"))] == [
        ["cat", "10", "9", "0", "1", "0", "0", "0"],
        ["dog", "10", "12", "2", "0", "0", "0", "0"],
    ]
    assert as_json("diff", published[0].uri, published[1].uri)["images"]["changed"] == 1
    assert "images 20 → 20: none changed" in dataset("diff", published[0].uri, published[0].uri)


# --- prune


def test_prune_only_says_what_it_would_do_without_yes(store, tmp_path):
    three(store, tmp_path / "in")
    before = list(store.entries())
    text = dataset("prune", "--keep", "1", "--grace", "0h")
    assert "would delete 2 snapshots" in text
    assert "nothing is deleted yet: add --yes" in text
    assert list(store.entries()) == before


@pytest.mark.parametrize("kind", ["file", pytest.param("s3", marks=pytest.mark.server)])
def test_prune_deletes_what_nothing_refers_to_and_nothing_else(kind, tmp_path, request):
    uri = f"s3://{request.getfixturevalue('s3')}/in" if kind == "s3" else f"{tmp_path}/other"
    store = open_store(uri)
    data, published = three(store, tmp_path / "in")
    orphan = f"packs/{'e' * 64}.tar"
    store.put_bytes(orphan, b"orphan")
    store.put_bytes("weights/yolo.pt", b"weights")
    total = sum(size for _, size in store.list())
    document = as_json("prune", *(one.digest for one in published[:2]), "--grace", "0h", "--yes", "--store", uri)
    assert document["done"]
    assert sorted(document["snapshots"]) == sorted(one.digest for one in published[:2])
    assert document["bytes"] == total - sum(size for _, size in store.list())
    assert not store.exists(orphan)
    assert store.exists("weights/yolo.pt")
    assert [key for key, _ in store.list("snapshots/")] == [f"snapshots/{published[2].digest}/manifest.json"]
    fetched(published[2], data)
    assert publish(data, store).uploaded_bytes == 0
    assert as_json("prune", "--keep", "1", "--grace", "0h", "--yes", "--store", uri)["objects"] == 0


def test_prune_keeps_the_newest_or_what_is_young_enough(store, tmp_path):
    data, published = three(store, tmp_path / "in")
    for days, one in zip((40, 20, 10), published, strict=True):
        age(store, tmp_path / "store", days, f"snapshots/{one.digest}")
    assert as_json("prune", "--older-than", "30d")["snapshots"] == [published[0].digest]
    assert as_json("prune", "--older-than", "1w")["snapshots"] == [one.digest for one in reversed(published)]
    assert as_json("prune", "--older-than", "960h")["snapshots"] == [published[0].digest]
    document = as_json("prune", "--keep", "2", "--yes")
    assert document["snapshots"] == [published[0].digest]
    assert [row["digest"] for row in as_json("list")["snapshots"]].count(published[0].digest) == 0
    fetched(published[2], data)


def test_what_is_published_again_counts_as_new(store, tmp_path):
    data, published = three(store, tmp_path / "in")
    age(store, tmp_path / "store", 40)
    assert publish(data, store) == Published(published[2].uri, published[2].digest, 0)
    assert set(as_json("prune", "--older-than", "30d")["snapshots"]) == {one.digest for one in published[:2]}
    assert as_json("prune", "--keep", "1", "--yes")["objects"] == 2, "lists of train and of val that were changed"
    fetched(published[2], data)


def test_prune_spares_what_is_young(store, tmp_path):
    _, published = three(store, tmp_path / "in")
    store.put_bytes(f"packs/{'e' * 64}.tar", b"of a publish in progress")
    document = as_json("prune", "--keep", "1", "--yes")
    assert (document["snapshots"], len(document["spared"]), document["objects"], document["young"]) == ([], 2, 0, 1)
    assert "spared, since younger than 24h (--grace): 2 snapshots" in dataset("prune", "--keep", "1")
    named = as_json("prune", published[0].digest, "--yes")
    assert named["snapshots"] == [published[0].digest], "who names a snapshot means it"
    assert (named["objects"], named["young"] > 1) == (0, True)
    age(store, tmp_path / "store", 2, "packs/")
    age(store, tmp_path / "store", 2, "items/")
    assert as_json("prune", "--keep", "9", "--yes")["objects"] == named["young"]


def test_prune_refuses_while_it_cannot_tell_what_is_needed(store, tmp_path):
    three(store, tmp_path / "in")
    broken = "0" * 64
    store.put_bytes(f"snapshots/{broken}/manifest.json", b"{")
    before = list(store.list())
    error = refused(StorageUsageError, "prune", "--keep", "9", "--grace", "0h", "--yes")
    assert "Nothing is deleted" in error.message
    assert broken in error.problems[0]
    assert list(store.list()) == before
    assert as_json("prune", broken, "--grace", "0h", "--yes")["snapshots"] == [broken]


def test_prune_wants_one_way_to_choose(store, tmp_path):
    published = publish(filled(tmp_path / "in"), store)
    for arguments in ([], ["--keep", "1", "--older-than", "3d"], ["--keep", "1", published.digest]):
        assert "exactly one of" in refused(ConfigError, "prune", *arguments).message
    assert "got '3 days'" in refused(ConfigError, "prune", "--older-than", "3 days").message
    assert "--grace: got ''" in refused(ConfigError, "prune", "--keep", "1", "--grace", "").message
    assert "both --cache and --store" in refused(ConfigError, "prune", "--keep", "1", "--cache", "--store", "x").message
    elsewhere = f"file:///elsewhere/snapshots/{published.digest}"
    assert "--store" in refused(StageInputError, "prune", elsewhere).message
    assert store.exists(f"snapshots/{published.digest}/manifest.json")


def test_prune_cache_frees_what_no_cached_snapshot_is_made_of(store, tmp_path):
    data, published = three(store, tmp_path / "in")
    for one in published:
        fetch(one.uri)
        time.sleep(0.01)
    cache = tmp_path / "cache"
    packs = {path.name for path in (cache / "packs").iterdir() if path.is_dir()}
    assert len(packs) == 4
    fetch(published[0].uri)  # used last
    (cache / "packs" / f"{'e' * 64}.tar.part").write_bytes(b"left by a killed process")
    document = as_json("prune", "--cache", "--keep", "1", "--grace", "0h")
    assert set(document["snapshots"]) == {one.digest for one in published[1:]}
    assert len(list((cache / "snapshots").iterdir())) == 3
    before = sum(path.stat().st_size / path.stat().st_nlink for path in cache.rglob("*") if path.is_file())
    assert as_json("prune", "--cache", "--keep", "1", "--grace", "0h", "--yes")["objects"] == 2
    assert sum(path.stat().st_size / path.stat().st_nlink for path in cache.rglob("*") if path.is_file()) < before
    assert [path.name for path in (cache / "snapshots").iterdir()] == [published[0].digest]
    assert len([path for path in (cache / "packs").iterdir() if path.is_dir()]) == 3
    assert not list((cache / "packs").glob("*.part"))
    fetched(published[2], data)
    assert as_json("prune", "--cache", published[2].digest[:9], "--yes")["snapshots"] == [published[2].digest]


def test_prune_of_an_empty_cache_or_store_does_nothing(store):
    for arguments in (["--cache"], []):
        assert as_json("prune", "--keep", "0", "--yes", *arguments)["objects"] == 0
