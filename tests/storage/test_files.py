"""Folders as a store: copies, full disks, addresses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline.errors import StorageError, StorageUsageError
from sightline.storage import (
    MissingObject,
    Transfer,
    cache_root,
    default_store,
    fetch_uri,
    open_store,
)
from tests.helpers.content import MIB, noise
from tests.helpers.small_disk import mounted


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
    with mounted(tmp_path / "small disk", "1m") as disk:
        yield disk


def test_a_full_disk_is_named_with_what_was_needed_when_fetching(uri: str, small_disk: Path) -> None:
    open_store(uri).put_bytes("big", noise(2 * MIB))
    with pytest.raises(StorageError) as caught:
        fetch_uri(f"{uri}/big", small_disk / "cache" / "big")
    needed = f"No space left for {small_disk}/cache/big: it needs 2.1 MB, "
    assert caught.value.message.startswith(needed)
    assert caught.value.exit_code == 1
    assert not (small_disk / "cache" / "big").exists()


def test_a_full_disk_is_named_with_what_was_needed_when_storing(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "big").write_bytes(noise(2 * MIB))
    store = open_store(str(small_disk / "store"))
    needed = f"No space left for {small_disk}/store/key/big: it needs 2.1 MB, 1.0 MB are free"
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


def test_a_folder_store_never_loads_the_s3_client(tmp_path: Path) -> None:
    code = "import sys; from sightline.storage import *; open_store(sys.argv[1]); assert 'minio' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
