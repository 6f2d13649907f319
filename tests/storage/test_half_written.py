"""Nothing half-written is read, whoever dies on the way: the one who sends, the connection, or the server."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest

from sightline.errors import StorageError
from sightline.storage import Transfer, open_store
from sightline.storage.s3 import S3Store
from tests.helpers.content import MIB, noise, sha
from tests.helpers.s3_server import BUCKET, S3Server
from tests.helpers.tcp_proxy import TcpProxy

UPLOAD = """
import sys
from pathlib import Path
from sightline.storage import Transfer, open_store
print(open_store(sys.argv[1]).upload([Transfer("data", Path(sys.argv[2]))]))
"""


@pytest.mark.parametrize("size", [4 * MIB, 12 * MIB], ids=["in one piece", "in parts"])
def test_a_killed_upload_leaves_nothing_and_the_next_process_sends_the_whole(
    s3: str, s3_server: S3Server, proxy: TcpProxy, tmp_path: Path, size: int
) -> None:
    data = noise(size)
    (tmp_path / "file").write_bytes(data)
    store = S3Store(f"s3://{s3}")
    proxy.up_rate = 8 * MIB
    command = [sys.executable, "-c", UPLOAD, f"s3://{s3}", str(tmp_path / "file")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    wait_for_bytes(proxy, size * 2 // 3, process)
    process.kill()
    process.communicate()
    proxy.down()
    proxy.up()
    assert not store.exists("data")
    assert list(store.list()) == []

    proxy.up_rate = 1e12
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stdout == f"{size}\n"
    assert store.get_bytes("data") == data
    assert list(store.list()) == [("data", size)]


def wait_for_bytes(proxy: TcpProxy, size: int, sender: subprocess.Popen[bytes] | Future[int]) -> None:
    """Wait until so many bytes were sent, and see that there are more to come."""
    while sum(map(len, proxy.requests)) < size:
        ended = sender.done() if isinstance(sender, Future) else sender.poll() is not None
        assert not ended, "the upload ended too early"
        time.sleep(0.01)


def test_an_object_that_is_replaced_while_it_is_fetched_is_not_mixed(
    s3: str, s3_server: S3Server, proxy: TcpProxy, tmp_path: Path
) -> None:
    """Without a digest only the server can tell that the rest, after a break, is of something else."""
    old, new = noise(6 * MIB, 1), noise(6 * MIB, 2)
    open_store(f"s3://{s3}").put_bytes("data", old)
    proxy.rate, proxy.cut_after = 6 * MIB, 3 * MIB
    store = open_store(f"s3://{s3}")
    with ThreadPoolExecutor(1) as pool:
        fetched = pool.submit(store.download, [Transfer("data", tmp_path / "data")])
        while not list(tmp_path.glob("data.*.part")):
            assert not fetched.done()
            time.sleep(0.01)
        s3_server.client().put_object(s3, "data", BytesIO(new), len(new))
    with pytest.raises(StorageError, match=rf"^s3://{s3}/data changed while it was read\. Run again\.$"):
        fetched.result()
    assert not (tmp_path / "data").exists()
    proxy.rate = 1e12
    open_store(f"s3://{s3}").download([Transfer("data", tmp_path / "data")])
    assert (tmp_path / "data").read_bytes() == new


@pytest.mark.usefixtures("no_known_outage")
@pytest.mark.parametrize("away", [1, pytest.param(30, marks=pytest.mark.slow)])
def test_a_server_that_is_killed_while_it_receives_and_sends_loses_nothing_and_keeps_nothing_half(
    own_s3_server: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    away: int,
) -> None:
    """After its start it answers 500 for some seconds more, until it knows again where its bytes are."""
    for name, value in {**own_s3_server.variables(), "SIGHTLINE_TRANSFERS": "4"}.items():
        monkeypatch.setenv(name, value)
    files = {f"packs/{number}": noise(12 * MIB, number) for number in range(4)}
    items = [Transfer(key, tmp_path / key, sha(data)) for key, data in files.items()]
    (tmp_path / "packs").mkdir()
    for item in items:
        item.path.write_bytes(files[item.key])
    store = open_store(f"s3://{BUCKET}/lab")
    held = noise(12 * MIB, 9)
    store.put_bytes("held", held)
    proxy = TcpProxy(own_s3_server.address)
    proxy.up_rate = proxy.rate = 2 * MIB
    monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", proxy.address)
    through = open_store(f"s3://{BUCKET}/lab")
    back = Transfer("held", tmp_path / "held", sha(held))
    with ThreadPoolExecutor(2) as pool:
        sent, fetched = pool.submit(through.upload, items), pool.submit(through.download, [back])
        wait_for_bytes(proxy, 24 * MIB, sent)  # half of all: each of the four is in its second part
        own_s3_server.kill()
        assert not fetched.done()
        proxy.up_rate = proxy.rate = 1e12
        time.sleep(away)
        own_s3_server.start()
        while not (sent.done() and fetched.done()):
            assert {size for _, size in store.list("packs/")} <= {12 * MIB}, "an object appears whole"
            time.sleep(0.1)
    proxy.down()
    assert (sent.result(), fetched.result()) == (48 * MIB, 12 * MIB)
    assert back.path.read_bytes() == held
    assert {key: store.get_bytes(key) for key, _ in store.list("packs/")} == files
    if away > 1:
        assert "note: the object store answers again, after " in capsys.readouterr().err
