"""What a store of either kind promises: bytes come back whole, travel once, are continued, and never mixed."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sightline.errors import StorageUsageError
from sightline.storage import (
    MissingObject,
    Transfer,
    WrongBytes,
    fetch_uri,
    open_store,
    sha256_file,
)
from tests.helpers.content import MIB, noise, sha


def test_small_bytes_come_back_and_are_replaced_as_a_whole(uri: str) -> None:
    store = open_store(uri)
    assert store.uri == uri
    assert not store.exists("snapshots/ü/manifest.json")
    store.put_bytes("snapshots/ü/manifest.json", b"one")
    store.put_bytes("snapshots/ü/manifest.json", b"second")
    store.put_bytes("empty", b"")
    assert open_store(uri).get_bytes("snapshots/ü/manifest.json") == b"second"
    assert store.exists("snapshots/ü/manifest.json")
    assert store.get_bytes("empty") == b""
    assert list(store.list()) == [("empty", 0), ("snapshots/ü/manifest.json", 6)]
    assert list(store.list("snap")) == [("snapshots/ü/manifest.json", 6)]
    assert list(store.list("snapshots/x")) == []


def test_of_several_that_put_something_new_one_succeeds(uri: str) -> None:
    store = open_store(uri)
    words = [f"writer {number}".encode() for number in range(8)]
    with ThreadPoolExecutor(len(words)) as pool:
        successes = list(pool.map(lambda word: store.put_new("claims/1.json", word), words))
    assert successes.count(True) == 1
    assert store.get_bytes("claims/1.json") == words[successes.index(True)]
    assert not store.put_new("claims/1.json", b"late")
    assert [key for key, _ in store.list()] == ["claims/1.json"]
    store.delete(["claims/1.json"])
    assert store.put_new("claims/1.json", b"late")


def test_a_file_is_put_over_another_and_a_check_that_raises_keeps_the_old_one(uri: str, tmp_path: Path) -> None:
    store = open_store(uri)
    (tmp_path / "small").write_bytes(b"small")
    (tmp_path / "large").write_bytes(noise(12 * MIB))
    store.put_file("file", tmp_path / "small")
    checks = iter([None])

    def check() -> None:
        if next(checks, "over") == "over" or uri.startswith("file"):
            raise TimeoutError

    with pytest.raises(TimeoutError):
        store.put_file("file", tmp_path / "large", check)
    assert store.get_bytes("file") == b"small"
    store.put_file("file", tmp_path / "large")
    assert store.size("file") == 12 * MIB


def test_entries_tell_when_they_were_written(uri: str) -> None:
    store = open_store(uri)
    before = time.time()
    store.put_bytes("packs/b.tar", b"bb")
    store.put_bytes("packs/a.tar", b"a")
    entries = list(store.entries("packs/"))
    assert [(entry.key, entry.size) for entry in entries] == [("packs/a.tar", 1), ("packs/b.tar", 2)]
    assert all(before - 2 < entry.modified < time.time() + 2 for entry in entries)


def test_what_is_deleted_is_gone_and_the_rest_stays(uri: str) -> None:
    store = open_store(uri)
    for key in ("snapshots/a/manifest.json", "snapshots/b/manifest.json", "packs/x.tar"):
        store.put_bytes(key, b"x")
    gone = ["snapshots/a/manifest.json", "packs/x.tar", "packs/never.tar"]
    store.delete(gone)
    store.delete(iter(gone))
    assert list(store.list()) == [("snapshots/b/manifest.json", 1)]
    store.put_bytes("packs/x.tar", b"new")
    assert store.get_bytes("packs/x.tar") == b"new"


def test_fifty_files_travel_in_parallel_and_only_once(uri: str, tmp_path: Path) -> None:
    items = []
    for number in range(50):
        path = tmp_path / "from" / f"{number}.bin"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(noise(1000 + number, number))
        items.append(Transfer(f"shards/{number:02}.bin", path, sha256_file(path)))
    total = sum(1000 + number for number in range(50))
    store = open_store(uri)
    ticks: list[int] = []
    assert store.upload(items, ticks.append) == total
    assert store.upload(items, ticks.append) == 0
    assert ticks == [1] * 100
    assert [size for _, size in store.list("shards/")] == [1000 + number for number in range(50)]

    back = [Transfer(item.key, tmp_path / "to" / item.path.name, item.sha256) for item in items]
    assert open_store(uri).download(back, ticks.append) == total
    assert open_store(uri).download(back, ticks.append) == 0
    assert len(ticks) == 200
    assert [sha256_file(item.path) for item in back] == [item.sha256 for item in items]
    assert len(list((tmp_path / "to").iterdir())) == 50, "no part file is left behind"


def test_a_file_larger_than_one_part_keeps_its_bytes(uri: str, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(noise(12 * MIB + 5))
    digest = sha256_file(tmp_path / "big")
    store = open_store(uri)
    assert store.upload([Transfer("big", tmp_path / "big", digest)]) == 12 * MIB + 5
    assert store.download([Transfer("big", tmp_path / "back", digest)]) == 12 * MIB + 5
    assert sha256_file(tmp_path / "back") == digest


def test_a_part_left_by_an_interruption_is_continued(uri: str, tmp_path: Path) -> None:
    data = noise(3 * MIB)
    store = open_store(uri)
    store.put_bytes("data", data)
    (tmp_path / "data.part").write_bytes(data[: 2 * MIB])
    assert store.download([Transfer("data", tmp_path / "data", sha(data))]) == MIB
    assert (tmp_path / "data").read_bytes() == data
    assert not (tmp_path / "data.part").exists()


def test_a_complete_part_only_needs_its_name(uri: str, tmp_path: Path) -> None:
    data = noise(1000)
    store = open_store(uri)
    store.put_bytes("data", data)
    (tmp_path / "data.part").write_bytes(data)
    assert store.download([Transfer("data", tmp_path / "data", sha(data))]) == 0
    assert (tmp_path / "data").read_bytes() == data


@pytest.mark.parametrize("kept", [500, 1000, 3000], ids=["shorter", "same size", "longer"])
def test_a_damaged_part_is_thrown_away_and_fetched_again(uri: str, tmp_path: Path, kept: int) -> None:
    data = noise(1000)
    store = open_store(uri)
    store.put_bytes("data", data)
    (tmp_path / "data.part").write_bytes(b"x" * kept)
    received = store.download([Transfer("data", tmp_path / "data", sha(data))])
    assert received == 1000 + max(0, 1000 - kept)
    assert (tmp_path / "data").read_bytes() == data


def test_a_damaged_cached_file_is_replaced(uri: str, tmp_path: Path) -> None:
    store = open_store(uri)
    store.put_bytes("data", b"right")
    (tmp_path / "data").write_bytes(b"wrong")
    assert store.download([Transfer("data", tmp_path / "data", sha(b"right"))]) == 5
    assert (tmp_path / "data").read_bytes() == b"right"


def test_wrong_bytes_are_refused_and_not_kept(uri: str, tmp_path: Path) -> None:
    store = open_store(uri)
    store.put_bytes("shard", b"other bytes")
    with pytest.raises(WrongBytes) as caught:
        store.download([Transfer("shard", tmp_path / "to" / "shard", sha(b"the bytes"))])
    assert f"{uri}/shard has sha256 {sha(b'other bytes')}, expected {sha(b'the bytes')}" in caught.value.message
    assert caught.value.exit_code == 1
    assert list((tmp_path / "to").iterdir()) == []
    (tmp_path / "changed").write_bytes(b"changed since")
    with pytest.raises(WrongBytes, match="it was not sent"):
        store.upload([Transfer("new", tmp_path / "changed", sha(b"the bytes"))])
    assert not store.exists("new")


def test_everything_that_is_missing_is_reported_at_once(uri: str, tmp_path: Path) -> None:
    store = open_store(uri)
    store.put_bytes("here", b"here")
    with pytest.raises(MissingObject, match=r"manifest\.json does not exist") as caught:
        store.get_bytes("snapshots/manifest.json")
    assert f"{uri}/snapshots/manifest.json" in caught.value.message
    assert caught.value.exit_code == 2
    items = [Transfer(name, tmp_path / "to" / name, sha(b"here")) for name in ("a", "here", "b")]
    with pytest.raises(MissingObject) as caught:
        store.download(items)
    assert caught.value.message == "2 of 3 files could not be moved:"
    assert [problem.split(" does not exist")[0] for problem in caught.value.problems] == [f"{uri}/a", f"{uri}/b"]
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["here"]


@pytest.mark.parametrize("key", ["../out", "a/../../out", "/etc/out", "a//b", "", ".", "a/\0"])
def test_a_key_cannot_leave_its_store(uri: str, tmp_path: Path, key: str) -> None:
    store = open_store(uri)
    (tmp_path / "from").write_bytes(b"x")
    for use in (
        lambda: store.put_bytes(key, b"x"),
        lambda: store.get_bytes(key),
        lambda: store.exists(key),
        lambda: store.delete([key]),
        lambda: store.upload([Transfer(key, tmp_path / "from")]),
        lambda: store.download([Transfer(key, tmp_path / "to")]),
    ):
        with pytest.raises(StorageUsageError, match="is not allowed"):
            use()
    assert [path.name for path in tmp_path.rglob("*out*")] == []


def test_one_file_is_fetched_by_its_address(uri: str, tmp_path: Path) -> None:
    open_store(uri).put_bytes("weights/yolo.pt", b"weights")
    target = tmp_path / "cache" / "yolo.pt"
    assert fetch_uri(f"{uri}/weights/yolo.pt", target, sha(b"weights")) == target
    assert target.read_bytes() == b"weights"
    open_store(uri).put_bytes("weights/yolo.pt", b"newer")
    assert fetch_uri(f"{uri}/weights/yolo.pt", target).read_bytes() == b"newer"
    assert [path.name for path in target.parent.iterdir()] == ["yolo.pt"]
    with pytest.raises(MissingObject, match=r"nothing\.pt does not exist"):
        fetch_uri(f"{uri}/weights/nothing.pt", tmp_path / "cache" / "nothing.pt")


def test_several_that_want_one_file_at_the_same_time_do_not_disturb_each_other(uri: str, tmp_path: Path) -> None:
    data = noise(8 * MIB)
    open_store(uri).put_bytes("data", data)
    results: list[int] = []

    def fetch() -> None:
        results.append(open_store(uri).download([Transfer("data", tmp_path / "data", sha(data))]))

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [0, 0, 0, 8 * MIB]
    assert (tmp_path / "data").read_bytes() == data
    assert not (tmp_path / "data.part").exists()
