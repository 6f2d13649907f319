"""Stores on a real S3 server in a process of its own: transfers, credentials, addresses."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.errors import ConfigError, StorageError, StorageUsageError
from sightline.storage import (
    Store,
    Transfer,
    fetch_uri,
    open_store,
    sha256_file,
)
from sightline.storage.s3 import S3Store
from tests.helpers.content import MIB, noise, sha
from tests.helpers.s3_doubles import ScriptedS3, WebPage, serving, xml
from tests.helpers.s3_server import S3Server
from tests.helpers.tcp_proxy import TcpProxy


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


def test_a_killed_download_is_continued_by_the_next_process(s3: str, proxy: TcpProxy, tmp_path: Path) -> None:
    data = noise(8 * MIB)
    open_store(f"s3://{s3}").put_bytes("data", data)
    proxy.rate = 4 * MIB
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

    proxy.rate = 1e12
    proxy.requests.clear()
    again = subprocess.run(command, capture_output=True, check=True)
    assert json.loads(again.stdout) == 8 * MIB - kept
    assert any(f"Range: bytes={kept}-" in request for request in proxy.requests)
    assert sha256_file(target) == sha(data)
    assert not part.exists()


def test_a_broken_connection_is_taken_up_where_it_broke(s3: str, proxy: TcpProxy, tmp_path: Path) -> None:
    data = noise(6 * MIB)
    open_store(f"s3://{s3}").put_bytes("data", data)
    for digest in (sha(data), None):
        store = open_store(f"s3://{s3}")  # with connections of its own: the proxy counts what each has carried
        proxy.cuts, proxy.cut_after = 0, 3 * MIB
        proxy.requests.clear()
        target = tmp_path / f"to {digest is None}"
        assert store.download([Transfer("data", target, digest)]) == 6 * MIB
        assert target.read_bytes() == data
        assert proxy.cuts == 1
        ranges = [request for request in proxy.requests if "Range: bytes=" in request]
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


def test_a_missing_bucket_is_reported_with_its_endpoint(s3: str, s3_server: S3Server, tmp_path: Path) -> None:
    uses: list[Callable[[], object]] = [
        lambda: open_store("s3://no-such-bucket/prefix"),
        lambda: fetch_uri("s3://no-such-bucket/weights/yolo.pt", tmp_path / "x"),
        lambda: fetch_uri("s3://no-such-bucket/weights/yolo.pt", tmp_path / "x", sha(b"")),
    ]
    for use in uses:
        with pytest.raises(StorageUsageError) as caught:
            use()
        assert f"there is no bucket 'no-such-bucket' at {s3_server.address}" in caught.value.message
        assert "SIGHTLINE_S3_ENDPOINT" in caught.value.message
        assert caught.value.exit_code == 2


def test_something_that_is_no_object_store_is_reported(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(WebPage) as address:
        monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", address)
        for status, body, answer in (
            (200, "<!doctype html><html><br>console", "answers with something that is not S3's XML"),
            (200, "<html><body>maintenance</body></html>", "answers with something that is not S3's XML"),
            (200, "<feed xmlns='urn:x'><title>news</title></feed>", "answers with something that is not S3's XML"),
            (404, "<html>", "answered HTTP status 404"),
            (501, "<html>", "answered HTTP status 501"),
        ):
            WebPage.status, WebPage.body, WebPage.asked = status, body, 0
            with pytest.raises(StorageError) as caught:
                open_store("s3://bucket")
            assert f"{answer} (tried once)" in caught.value.message
            assert WebPage.asked == 1


@pytest.mark.parametrize("name", ["a..b", "192.168.0.1", "a.-b"])
def test_a_bucket_that_s3_does_not_allow_is_refused_before_it_is_asked_for(s3: str, name: str) -> None:
    with pytest.raises(StorageUsageError, match="names no bucket; expected s3://bucket/prefix"):
        S3Store(f"s3://{name}/prefix")


def test_errors_inside_an_answer_that_says_success_are_seen(scripted: type[ScriptedS3], tmp_path: Path) -> None:
    """Deleting many answers 200 with an error for each; so does the last step of an upload in parts."""
    scripted.answers = [
        (200, f"<DeleteResult>{xml('SlowDown').replace('<Code>', '<Key>a</Key><Code>')}</DeleteResult>"),
        (200, "<DeleteResult></DeleteResult>"),
    ]
    store = S3Store("s3://bucket")
    store.delete(["a"])
    assert len(scripted.asked) == 2

    (tmp_path / "big").write_bytes(b"\0" * (6 * MIB))
    begun = "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
    ended = "<CompleteMultipartUploadResult><Key>big</Key><ETag>0-2</ETag></CompleteMultipartUploadResult>"
    parts = [(200, begun), (200, ""), (200, "")]
    scripted.answers = [*parts, (200, xml("InternalError")), *parts, (200, ended)]
    store.put_file("big", tmp_path / "big")
    assert scripted.answers == []


def test_whose_put_arrived_without_its_answer_learns_that_it_has_won(scripted: type[ScriptedS3]) -> None:
    """The second try is refused because the first one worked; another's bytes are another's."""
    store = S3Store("s3://bucket")
    for found in ("mine", "another's"):
        scripted.answers = [(404, ""), (500, xml("InternalError")), (412, xml("PreconditionFailed")), (200, found)]
        assert store.put_new("claim", b"mine") == (found == "mine")
        assert scripted.answers == []


def test_a_server_without_the_condition_is_asked_what_lies_there(scripted: type[ScriptedS3]) -> None:
    scripted.answers = [(200, "another's")]
    assert not S3Store("s3://bucket").put_new("claim", b"mine")
    scripted.answers = [(404, ""), (200, ""), (200, "another's")]
    assert not S3Store("s3://bucket").put_new("claim", b"mine")
    assert [request.split()[0] for request in scripted.asked] == ["HEAD", "HEAD", "PUT", "GET"]


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
