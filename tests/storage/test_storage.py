"""Storage against real folders, a real S3 server in a process of its own, and a slow line to it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import boto3
import pytest
from minio import Minio

from sightline.errors import ConfigError, StorageError, StorageUsageError
from sightline.storage import (
    MissingObject,
    Store,
    Transfer,
    WrongBytes,
    cache_root,
    default_store,
    fetch_uri,
    open_store,
    sha256_file,
)
from sightline.storage.patience import Outage
from sightline.storage.s3 import S3Store

MIB = 1 << 20


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.server)])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of either kind, so that both keep the same promises."""
    if request.param == "file":
        return f"file://{tmp_path}/a store with 100%25/inside"
    return f"s3://{request.getfixturevalue('s3')}/a prefix/inside"


class Line:
    """A TCP line to a server that carries so many bytes a second, can be cut after some, and goes down and up."""

    def __init__(self, address: str, rate: float = 1e12, cut_after: int | None = None) -> None:
        self.target = address.removeprefix("http://").split(":")
        self.rate, self.cut_after = rate, cut_after
        self.up_rate = 1e12
        self.cut_each = False
        self.cuts = 0
        self.requests: list[str] = []
        self.open: list[socket.socket] = []
        self.port = 0
        self.up()
        self.address = f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        """Take connections."""
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def down(self) -> None:
        """Refuse connections, and break those that there are."""
        for each in (self.listener, *self.open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self.open.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection((self.target[0], int(self.target[1])))
                self.open += (client, server)
                threading.Thread(target=self._up, args=(client, server), daemon=True).start()
                threading.Thread(target=self._down, args=(server, client), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                self.requests.append(data.decode("latin-1"))
                server.sendall(data)
                time.sleep(len(data) / self.up_rate)
        server.close()

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        sent = 0
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
                sent += len(data)
                time.sleep(len(data) / self.rate)
                if self.cut_after is not None and sent > self.cut_after:
                    self.cut_after = self.cut_after if self.cut_each else None
                    self.cuts += 1
                    break
            client.shutdown(socket.SHUT_RDWR)
        client.close()


@pytest.fixture
def line(s3: str, s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    line = Line(s3_server)
    monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", line.address)
    yield line
    line.down()


# --- both kinds


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


def test_everything_that_is_missing_is_told_at_once(uri: str, tmp_path: Path) -> None:
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


# --- folders


def test_a_fetched_file_is_a_copy_of_its_own(tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(b"bytes")
    target = fetch_uri(str(source), tmp_path / "cache" / "source.bin")
    assert target.stat().st_ino != source.stat().st_ino
    store = open_store(str(tmp_path / "store"))
    store.upload([Transfer("key", source)])
    source.write_bytes(b"edited")
    assert (target.read_bytes(), store.get_bytes("key")) == (b"bytes", b"bytes")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    disk = tmp_path / "small disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip(f"needs the right to mount a small file system: {mount.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_named_with_what_was_needed_when_fetching(uri: str, small_disk: Path) -> None:
    open_store(uri).put_bytes("big", noise(2 * MIB))
    with pytest.raises(StorageError) as caught:
        fetch_uri(f"{uri}/big", small_disk / "cache" / "big")
    needed = f"No space left for {small_disk}/cache/big: it needs {2 * MIB} bytes, "
    assert caught.value.message.startswith(needed)
    assert caught.value.exit_code == 1
    assert not (small_disk / "cache" / "big").exists()


def test_a_full_disk_is_named_with_what_was_needed_when_storing(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "big").write_bytes(noise(2 * MIB))
    store = open_store(str(small_disk / "store"))
    needed = f"No space left for {small_disk}/store/key/big: it needs {2 * MIB} bytes, {MIB} are free"
    with pytest.raises(StorageError) as caught:
        store.upload([Transfer("key/big", tmp_path / "big")])
    assert caught.value.message.startswith(needed)
    with pytest.raises(StorageError) as caught:
        store.put_bytes("key/big", noise(2 * MIB))
    assert caught.value.message.startswith(needed)
    assert list((small_disk / "store").rglob("*.*")) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=f"Cannot use {tmp_path}/file"):
        open_store(str(tmp_path / "file")).put_bytes("key", b"x")
    with pytest.raises(StorageUsageError, match=f"Cannot use {tmp_path}/gone: No such file"):
        open_store(str(tmp_path)).upload([Transfer("key", tmp_path / "gone")])
    with pytest.raises(MissingObject, match="is a folder, not a file"):
        fetch_uri(str(tmp_path), tmp_path / "to")


def test_deleting_leaves_no_empty_folder_behind_but_those_at_the_top(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    store.put_bytes("snapshots/abc/manifest.json", b"{}")
    store.delete(["snapshots/abc/manifest.json"])
    assert [path.name for path in (tmp_path / "store").rglob("*")] == ["snapshots"]


def test_half_written_files_of_a_killed_writer_are_not_listed(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    store.put_bytes("shards/a.tar", b"a")
    (tmp_path / "store" / "shards" / ".0123.tmp").write_bytes(b"half")
    assert list(store.list()) == [("shards/a.tar", 1)]


def test_addresses_mean_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_store("runs/../store").uri == open_store(f"file://{tmp_path}/store/").uri == f"file://{tmp_path}/store"
    assert cache_root() == tmp_path / "cache"
    assert default_store() == f"file://{tmp_path}/store"
    monkeypatch.delenv("SIGHTLINE_STORE")
    assert default_store() == f"file://{tmp_path}/runs/store"
    for uri, problem in (
        ("gs://bucket/x", "Scheme gs:// is not supported; expected a path, file:// or s3://"),
        ("file://host", "expected an absolute path: file:///host"),
        ("s3://", "names no bucket"),
        ("s3://AB", "names no bucket"),
        ("s3://bucket/a/../b", "Key 'a/../b' is not allowed"),
        ("", "is empty"),
    ):
        with pytest.raises(StorageUsageError) as caught:
            open_store(uri)
        assert problem in caught.value.message
    with pytest.raises(StorageUsageError, match="expected s3://bucket/key"):
        fetch_uri("s3://bucket", tmp_path / "x")


# --- S3


def test_listing_goes_on_behind_the_first_thousand(s3: str) -> None:
    store = open_store(f"s3://{s3}/many")
    threads = [threading.Thread(target=_put, args=(store, range(start, 1003, 8))) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(store.list()) == [(f"k/{number:04}", 1) for number in range(1003)]
    store.delete(f"k/{number:04}" for number in range(1002))
    assert list(store.list()) == [("k/1002", 1)]


def _put(store: Store, numbers: range) -> None:
    for number in numbers:
        store.put_bytes(f"k/{number:04}", b"x")


DOWNLOAD = """
import json, sys
from pathlib import Path
from sightline.storage import Transfer, open_store
uri, target, digest = sys.argv[1:]
print(json.dumps(open_store(uri).download([Transfer("data", Path(target), digest)])))
"""


def test_a_killed_download_is_continued_by_the_next_process(s3: str, line: Line, tmp_path: Path) -> None:
    data = noise(8 * MIB)
    open_store(f"s3://{s3}").put_bytes("data", data)
    line.rate = 4 * MIB
    target, part = tmp_path / "data", tmp_path / "data.part"
    command = [sys.executable, "-c", DOWNLOAD, f"s3://{s3}", str(target), sha(data)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    while not part.exists() or part.stat().st_size < 2 * MIB:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.communicate()
    kept = part.stat().st_size
    assert 2 * MIB <= kept < 8 * MIB
    assert not target.exists()

    line.rate = 1e12
    line.requests.clear()
    again = subprocess.run(command, capture_output=True, check=True)
    assert json.loads(again.stdout) == 8 * MIB - kept
    assert any(f"Range: bytes={kept}-" in request for request in line.requests)
    assert sha256_file(target) == sha(data)
    assert not part.exists()


def test_a_broken_connection_is_taken_up_where_it_broke(s3: str, line: Line, tmp_path: Path) -> None:
    data = noise(6 * MIB)
    store = open_store(f"s3://{s3}")
    store.put_bytes("data", data)
    for digest in (sha(data), None):
        line.cuts, line.cut_after = 0, 3 * MIB
        line.requests.clear()
        target = tmp_path / f"to {digest is None}"
        assert store.download([Transfer("data", target, digest)]) == 6 * MIB
        assert target.read_bytes() == data
        assert line.cuts == 1
        ranges = [request for request in line.requests if "Range: bytes=" in request]
        assert len(ranges) == 1
        assert ("If-Match" in ranges[0]) == (digest is None)


MOVE = """
import resource, sys
from pathlib import Path
from sightline.storage import Transfer, open_store
store, folder = open_store(sys.argv[1]), Path(sys.argv[2])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
store.upload([Transfer(f"k/{number}", folder / "big") for number in range(4)])
store.download([Transfer(f"k/{number}", folder / f"back-{number}") for number in range(4)])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_size_of_the_files(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "big").write_bytes(b"\0" * 32 * MIB)
    monkeypatch.setenv("SIGHTLINE_TRANSFERS", "2")
    done = subprocess.run([sys.executable, "-c", MOVE, f"s3://{s3}", tmp_path], capture_output=True, check=True)
    assert (tmp_path / "back-3").stat().st_size == 32 * MIB
    assert int(done.stdout) < 30 * 1024, "KiB for 128 MiB moved two at a time"


def test_without_a_digest_a_part_of_another_version_is_not_continued(s3: str, tmp_path: Path) -> None:
    store = open_store(f"s3://{s3}")
    store.put_bytes("data", b"old version")
    (tmp_path / f"data.{hashlib.md5(b'old version').hexdigest()}.part").write_bytes(b"old")
    store.put_bytes("data", b"new version")
    assert store.download([Transfer("data", tmp_path / "data")]) == 11
    assert (tmp_path / "data").read_bytes() == b"new version"


def test_a_missing_bucket_is_told_with_its_endpoint(s3: str, s3_server: str, tmp_path: Path) -> None:
    uses: list[Callable[[], object]] = [
        lambda: open_store("s3://no-such-bucket/prefix"),
        lambda: fetch_uri("s3://no-such-bucket/weights/yolo.pt", tmp_path / "x"),
        lambda: fetch_uri("s3://no-such-bucket/weights/yolo.pt", tmp_path / "x", sha(b"")),
    ]
    for use in uses:
        with pytest.raises(StorageUsageError) as caught:
            use()
        assert f"there is no bucket 'no-such-bucket' at {s3_server}" in caught.value.message
        assert "SIGHTLINE_S3_ENDPOINT" in caught.value.message
        assert caught.value.exit_code == 2


def test_a_server_that_is_not_there_is_told_once_the_budget_of_time_is_spent(
    s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    store = open_store(f"s3://{s3}")
    monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", address)
    monkeypatch.setenv("SIGHTLINE_S3_WAIT", "2")
    started = time.monotonic()
    with pytest.raises(StorageError) as caught:
        open_store("s3://bucket")
    assert 2 <= time.monotonic() - started < 3
    message = caught.value.message
    assert re.search(
        rf"the object store at {address} does not answer \(Connection refused; tried \d times in 2 s", message
    )
    assert "SIGHTLINE_S3_ENDPOINT" in message
    assert "SIGHTLINE_S3_WAIT" in message
    assert caught.value.exit_code == 1
    monkeypatch.setenv("SIGHTLINE_S3_WAIT", "0")
    items = [Transfer(str(number), tmp_path / str(number), sha(b"x")) for number in range(500)]
    with pytest.raises(StorageError, match="tried once"):
        S3Store("s3://bucket").download(items)
    assert list(tmp_path.glob("*.part")) == []
    assert store.exists("x") is False, "a store keeps the endpoint that it was opened with"


def test_something_that_is_no_object_store_is_told(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    for status, body, answer in (
        (200, "<!doctype html><html><br>console", "answers with something that is not S3's XML"),
        (200, "<html><body>maintenance</body></html>", "answers with something that is not S3's XML"),
        (200, "<feed xmlns='urn:x'><title>news</title></feed>", "answers with something that is not S3's XML"),
        (404, "<html>", "answered HTTP status 404"),
        (501, "<html>", "answered HTTP status 501"),
    ):
        Page.status, Page.body, Page.asked = status, body, 0
        with pytest.raises(StorageError) as caught:
            open_store("s3://bucket")
        assert f"{answer} (tried once)" in caught.value.message
        assert Page.asked == 1
    server.shutdown()
    server.server_close()


class Page(BaseHTTPRequestHandler):
    """A web page where an object store was expected."""

    status = 200
    body = ""
    asked = 0

    def do_GET(self) -> None:
        Page.asked += 1
        body = Page.body.encode()
        self.send_response(Page.status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


# --- outages


@pytest.fixture
def fresh() -> None:
    """Forget what this process knows of servers: a port may be used twice."""
    Outage._known.clear()


@pytest.mark.usefixtures("fresh")
def test_every_request_waits_out_an_outage_and_says_so_once(
    s3: str, line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = noise(7 * MIB)
    (tmp_path / "big").write_bytes(data)
    (tmp_path / "back.part").write_bytes(data[: 2 * MIB])
    store = open_store(f"s3://{s3}")
    store.upload([Transfer("big", tmp_path / "big")])
    for key in ("a", "gone"):
        store.put_bytes(key, key.encode())
    uses: dict[str, Callable[[], object]] = {
        "list": lambda: [key for key, _ in store.list("a")],
        "head": lambda: store.size("a"),
        "get": lambda: store.get_bytes("a"),
        "ranged get": lambda: store.download([Transfer("big", tmp_path / "back", sha(data))]),
        "put": lambda: store.put_bytes("b", b"b"),
        "put in parts": lambda: store.upload([Transfer("second", tmp_path / "big")]),
        "delete": lambda: store.delete(["gone"]),
        "bucket": lambda: open_store(f"s3://{s3}").uri,
    }
    results: dict[str, object] = {}

    def use(name: str) -> None:
        results[name] = uses[name]()

    line.down()
    monkeypatch.delenv("SIGHTLINE_PROGRESS", raising=False)
    threads = [threading.Thread(target=use, args=(name,)) for name in uses]
    for thread in threads:
        thread.start()
    time.sleep(6)  # longer than the attempts took that there once were
    assert results == {}
    line.up()
    for thread in threads:
        thread.join()
    assert results == {
        **{"list": ["a"], "head": 1, "get": b"a", "ranged get": 5 * MIB, "put": None, "put in parts": 7 * MIB},
        **{"delete": None, "bucket": f"s3://{s3}"},
    }
    assert store.get_bytes("second") == data
    assert not store.exists("gone")
    said = capsys.readouterr().err.splitlines()
    assert [re.sub(r"\d+ s", "N s", text) for text in said] == [
        f"note: the object store at {line.address} has not answered for N s (Connection refused); trying again for up "
        "to N s",
        "note: the object store answers again, after N s",
    ]


@pytest.mark.usefixtures("fresh")
def test_the_budget_is_for_a_server_that_gives_nothing_not_for_one_that_is_often_cut(
    s3: str, line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_S3_WAIT", "1")
    data = noise(12 * MIB)
    store = open_store(f"s3://{s3}")
    store.put_bytes("data", data)
    line.cut_after, line.cut_each, line.rate = MIB, True, 8 * MIB
    started = time.monotonic()
    assert store.download([Transfer("data", tmp_path / "data", sha(data))]) == 12 * MIB
    assert line.cuts > 5
    assert time.monotonic() - started > 2


@pytest.mark.usefixtures("fresh")
def test_a_part_has_its_time_on_a_slow_line(s3: str, line: Line, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(noise(9 * MIB // 2))
    line.up_rate = 0.7 * MIB
    assert S3Store(f"s3://{s3}").upload([Transfer("big", tmp_path / "big")]) == 9 * MIB // 2
    assert len([request for request in line.requests if request.startswith("PUT ")]) == 1


class Moody(BaseHTTPRequestHandler):
    """An S3 server that gives the answers it was told to, one after the other."""

    answers: ClassVar[list[tuple[int, str]]] = []
    asked: ClassVar[list[str]] = []

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        Moody.asked.append(f"{self.command} {self.path.partition('?')[0]}")
        status, body = Moody.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if body.startswith("<html") else "application/xml")
        self.send_header("ETag", '"0"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    do_GET = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def moody(s3: str, fresh: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Moody]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Moody)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    Moody.asked.clear()
    yield Moody
    server.shutdown()
    server.server_close()


def xml(code: str) -> str:
    return f"<Error><Code>{code}</Code><Message>hush</Message></Error>"


EMPTY = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name></ListBucketResult>'


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, xml("InternalError")),
        (503, xml("SlowDown")),
        (503, "<html>no backend</html>"),
        (502, "<html>bad gateway</html>"),
        (429, "<html>too many</html>"),
        (400, xml("RequestTimeout")),
        (409, xml("OperationAborted")),
    ],
)
def test_a_busy_or_failing_server_is_asked_again(moody: type[Moody], status: int, body: str) -> None:
    moody.answers = [(status, body), (status, body), (200, EMPTY)]
    open_store("s3://bucket")
    assert len(moody.asked) == 3


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (403, xml("AccessDenied"), "access refused"),
        (403, xml("InvalidAccessKeyId"), "access refused"),
        (404, xml("NoSuchBucket"), "there is no bucket 'bucket'"),
        (400, xml("InvalidArgument"), r"answered InvalidArgument \(tried once\)"),
        (501, xml("NotImplemented"), r"answered NotImplemented \(tried once\)"),
        (507, xml("XMinioStorageFull"), r"the object store at \S+ is full \(XMinioStorageFull; tried once\). Delete"),
        (403, xml("QuotaExceeded"), r"is full \(QuotaExceeded; tried once\)"),
        (400, xml("XMinioAdminBucketQuotaExceeded"), r"is full \(XMinioAdminBucketQuotaExceeded; tried once\)"),
        (507, "<html>full</html>", r"is full \(HTTP status 507; tried once\)"),
        (403, "<html>no</html>", r"access refused by \S+ \(HTTP status 403\). Check AWS_ACCESS_KEY_ID"),
        (401, "", r"access refused by \S+ \(HTTP status 401\)"),
        (403, xml("AllAccessDisabled"), r"access refused by \S+ \(AllAccessDisabled\)"),
        (403, xml("RequestTimeTooSkewed"), r"its clock and this machine's differ too much"),
    ],
)
def test_an_answer_that_stays_is_not_waited_for(moody: type[Moody], status: int, body: str, words: str) -> None:
    moody.answers = [(status, body)]
    with pytest.raises(StorageError, match=words):
        open_store("s3://bucket")
    assert len(moody.asked) == 1


class Maintained(Moody):
    """An S3 server that shows a page with status 200 instead of itself for a while, whatever it is asked."""

    until = 0.0
    held: ClassVar[dict[str, bytes]] = {}

    def _answer(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        key, _, query = self.path.partition("?")
        status, kind, body = 200, "application/xml", b""
        if page := time.monotonic() < Maintained.until:
            kind, body = "text/html", b"<html><body>maintenance</body></html>"
        elif "location" in query:
            body = b"<LocationConstraint/>"
        elif self.command == "PUT":
            Maintained.held[key] = data
        elif key == "/bucket":
            body = EMPTY.encode()
        else:
            status, body = (200, Maintained.held[key]) if key in Maintained.held else (404, b"")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if not page:
            self.send_header("ETag", '"0"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = _answer  # noqa: N815


def test_a_page_of_a_server_that_worked_before_is_waited_out_and_never_taken_for_bytes(
    s3: str, fresh: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)  # so that the page is asked for the region too
    server = ThreadingHTTPServer(("127.0.0.1", 0), Maintained)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    store = S3Store("s3://bucket")
    store.put_bytes("a", b"abc")
    (tmp_path / "file").write_bytes(b"file")
    uses: tuple[Callable[[], object], ...] = (
        lambda: store.put_bytes("a", b"new"),
        lambda: store.get_bytes("a"),
        lambda: store.size("a"),
        lambda: store.upload([Transfer("file", tmp_path / "file")]),
        lambda: list(store.entries()),
        lambda: S3Store("s3://bucket").get_bytes("a"),
    )
    results = []
    for use in uses:
        Maintained.until = time.monotonic() + 0.4
        results.append(use())
        assert time.monotonic() > Maintained.until
    assert results == [None, b"new", 3, 4, [], b"new"]
    assert Maintained.held["/bucket/file"] == b"file"
    monkeypatch.setenv("SIGHTLINE_S3_WAIT", "1")
    Maintained.until = time.monotonic() + 60
    with pytest.raises(StorageError, match=r"answers with something that is not S3's XML \(tried \d times in 1 s\)"):
        S3Store("s3://bucket").get_bytes("a")
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["a..b", "192.168.0.1", "a.-b"])
def test_a_bucket_that_s3_does_not_allow_is_refused_before_it_is_asked_for(s3: str, name: str) -> None:
    with pytest.raises(StorageUsageError, match="names no bucket; expected s3://bucket/prefix"):
        S3Store(f"s3://{name}/prefix")


def test_errors_inside_an_answer_that_says_success_are_seen(moody: type[Moody], tmp_path: Path) -> None:
    """Deleting many answers 200 with an error for each; so does the last step of an upload in parts."""
    moody.answers = [
        (200, f"<DeleteResult>{xml('SlowDown').replace('<Code>', '<Key>a</Key><Code>')}</DeleteResult>"),
        (200, "<DeleteResult></DeleteResult>"),
    ]
    store = S3Store("s3://bucket")
    store.delete(["a"])
    assert len(moody.asked) == 2

    (tmp_path / "big").write_bytes(b"\0" * (6 * MIB))
    begun = "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
    ended = "<CompleteMultipartUploadResult><Key>big</Key><ETag>0-2</ETag></CompleteMultipartUploadResult>"
    parts = [(200, begun), (200, ""), (200, "")]
    moody.answers = [*parts, (200, xml("InternalError")), *parts, (200, ended)]
    store._send("big", tmp_path / "big")
    assert moody.answers == []


@pytest.mark.usefixtures("fresh")
def test_a_server_that_takes_requests_and_stays_silent_is_noticed_and_given_up(
    s3: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", address)
        monkeypatch.setenv("SIGHTLINE_S3_WAIT", "10")
        monkeypatch.delenv("SIGHTLINE_PROGRESS", raising=False)
        started = time.monotonic()
        with pytest.raises(StorageError, match=r"does not answer \(timed out; tried once\)"):
            open_store("s3://bucket")
        assert time.monotonic() - started < 13
    assert "has not answered for 8 s (it took the request and is silent)" in capsys.readouterr().err


@pytest.mark.usefixtures("fresh")
def test_a_host_that_does_not_exist_is_a_mistake_and_not_waited_for(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", "http://no-such-host.invalid:9000")
    started = time.monotonic()
    with pytest.raises(StorageUsageError, match=r"there is no host of the name in http://no-such-host.invalid:9000"):
        open_store("s3://bucket")
    assert time.monotonic() - started < 10


def test_the_person_at_the_command_line_sees_that_it_waits(
    s3: str, command: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """A stage has no terminal: it says so by an event, which is drawn between the bars."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    arguments = ("validate", "--data", "s3://bucket/cells", "--weights", "yolo11n.yaml", "--run", "r")
    done = command(*arguments, cwd=tmp_path, SIGHTLINE_S3_ENDPOINT=address, SIGHTLINE_S3_WAIT="6")
    assert done.returncode == 1
    waits, _, error = " ".join(done.stderr.split()).partition("✘ validate")
    assert re.search(rf"note: the object store at {address} has not answered for [56] s \(Connection refused\)", waits)
    assert f"error: s3://bucket/cells: the object store at {address} does not answer" in error


def test_an_interruption_ends_the_waiting(s3: str, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sightline.storage import Transfer; "
        "from sightline.storage.s3 import S3Store; print('ready', flush=True); "
        "S3Store('s3://bucket').download([Transfer(str(n), Path(sys.argv[1]) / str(n)) for n in range(20)])"
    )
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "SIGHTLINE_S3_ENDPOINT": address},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    time.sleep(2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=4)
    assert process.returncode != 0


POLICY = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}


def test_wrong_and_missing_credentials_are_told_and_never_shown(
    start_s3_server: Callable[..., AbstractContextManager[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with start_s3_server(INITIAL_NO_AUTH_ACTION_COUNT="3") as address:
        iam = boto3.client("iam", "us-east-1", endpoint_url=address, aws_access_key_id="x", aws_secret_access_key="x")
        iam.create_user(UserName="sightline")
        iam.put_user_policy(UserName="sightline", PolicyName="all", PolicyDocument=json.dumps(POLICY))
        right = iam.create_access_key(UserName="sightline")["AccessKey"]
        identity, secret = right["AccessKeyId"], right["SecretAccessKey"]
        iam.close()
        monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", address)
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        with pytest.raises(StorageUsageError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
            open_store("s3://bucket")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", identity)
        with pytest.raises(StorageUsageError, match="set AWS_SECRET_ACCESS_KEY") as caught:
            open_store("s3://bucket")
        assert identity not in str(caught.value)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        Minio(address.removeprefix("http://"), identity, secret, secure=False, region="us-east-1").make_bucket("bucket")
        open_store("s3://bucket").put_bytes("key", b"bytes")

        for user, password in ((identity, "wrong-secret"), ("AKIAUNKNOWNUNKNOWN00", secret)):
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", user)
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", password)
            started = time.monotonic()
            uses = (lambda: open_store("s3://bucket"), lambda: fetch_uri("s3://bucket/key", tmp_path / "key"))
            for use in uses:
                with pytest.raises(StorageUsageError) as caught:
                    use()
                assert f"access refused by {address}" in caught.value.message
                assert "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY" in caught.value.message
                shown = "".join(traceback.format_exception(caught.value))
                assert not any(word in shown for word in (user, password, secret))
            assert time.monotonic() - started < 2, "a refusal is final: no retries"


@pytest.mark.parametrize("address", ["http://me:hush@host:9000", "host:9000", "http://host/hush", "ftp://host"])
def test_an_endpoint_that_is_no_address_is_refused_unquoted(
    s3: str, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", address)
    with pytest.raises(StorageUsageError, match="SIGHTLINE_S3_ENDPOINT is not an address") as caught:
        open_store("s3://bucket")
    assert "hush" not in str(caught.value)


def test_a_password_in_an_s3_address_is_not_repeated(s3: str) -> None:
    with pytest.raises(StorageUsageError, match="user or password in it") as caught:
        open_store("s3://me:hush@bucket/x")
    assert "hush" not in str(caught.value)


def test_settings_that_are_no_numbers_are_refused(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_TRANSFERS", "0")
    with pytest.raises(ConfigError, match="SIGHTLINE_TRANSFERS is '0'; expected a whole number of at least 1"):
        open_store(f"s3://{s3}")
    monkeypatch.delenv("SIGHTLINE_TRANSFERS")
    monkeypatch.setenv("SIGHTLINE_S3_WAIT", "long")
    with pytest.raises(ConfigError, match="SIGHTLINE_S3_WAIT is 'long'"):
        open_store(f"s3://{s3}")


def test_a_folder_store_never_loads_the_s3_client(tmp_path: Path) -> None:
    code = "import sys; from sightline.storage import *; open_store(sys.argv[1]); assert 'minio' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
