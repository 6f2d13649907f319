"""A server that is away, busy or silent is waited for within a budget of time; what stays wrong is not."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.errors import StorageError, StorageUsageError
from sightline.storage import (
    Transfer,
    open_store,
)
from sightline.storage.s3 import S3Store
from tests.helpers.content import MIB, noise, sha
from tests.helpers.s3_doubles import EMPTY, S3InMaintenance, ScriptedS3, serving, xml
from tests.helpers.tcp_proxy import TcpProxy


def test_a_server_that_is_not_there_is_reported_once_the_budget_of_time_is_spent(
    s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    store = open_store(f"s3://{s3}")
    monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", address)
    monkeypatch.setenv("SIGHTLINE_S3_WAIT", "2")
    with pytest.raises(StorageError) as caught:
        open_store("s3://bucket")
    message = caught.value.message
    assert re.search(
        rf"the object store at {address} does not answer \(Connection refused; tried [3-9] times in 2 s", message
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


@pytest.mark.usefixtures("no_known_outage")
def test_every_request_waits_out_an_outage_and_says_so_once(
    s3: str, proxy: TcpProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
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

    proxy.down()
    monkeypatch.delenv("SIGHTLINE_PROGRESS", raising=False)
    threads = [threading.Thread(target=use, args=(name,)) for name in uses]
    for thread in threads:
        thread.start()
    time.sleep(6)  # longer than the attempts took that there once were
    assert results == {}
    proxy.up()
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
        f"note: the object store at {proxy.address} has not answered for N s (Connection refused); trying again for up "
        "to N s",
        "note: the object store answers again, after N s",
    ]


@pytest.mark.usefixtures("no_known_outage")
def test_the_budget_is_for_a_server_that_gives_nothing_not_for_one_that_is_often_cut(
    s3: str, proxy: TcpProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_S3_WAIT", "1")
    data = noise(12 * MIB)
    store = open_store(f"s3://{s3}")
    store.put_bytes("data", data)
    proxy.cut_after, proxy.cut_each, proxy.rate = MIB, True, 6 * MIB  # so it takes two seconds, twice the budget
    assert store.download([Transfer("data", tmp_path / "data", sha(data))]) == 12 * MIB
    assert proxy.cuts > 5


@pytest.mark.usefixtures("no_known_outage")
def test_a_part_has_its_time_on_a_slow_connection(s3: str, proxy: TcpProxy, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(noise(9 * MIB // 2))
    proxy.up_rate = 0.7 * MIB
    assert S3Store(f"s3://{s3}").upload([Transfer("big", tmp_path / "big")]) == 9 * MIB // 2
    assert len([request for request in proxy.requests if request.startswith("PUT ")]) == 1


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
def test_a_busy_or_failing_server_is_asked_again(scripted: type[ScriptedS3], status: int, body: str) -> None:
    scripted.answers = [(status, body), (status, body), (200, EMPTY)]
    open_store("s3://bucket")
    assert len(scripted.asked) == 3


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
        (400, xml("ExpiredToken"), r"\(ExpiredToken\): AWS_SESSION_TOKEN is no longer valid\. Get new credentials"),
        (403, xml("RequestTimeTooSkewed"), r"its clock and this machine's differ too much"),
    ],
)
def test_an_answer_that_stays_is_not_waited_for(scripted: type[ScriptedS3], status: int, body: str, words: str) -> None:
    scripted.answers = [(status, body)]
    with pytest.raises(StorageError, match=words):
        open_store("s3://bucket")
    assert len(scripted.asked) == 1


def test_a_page_of_a_server_that_worked_before_is_waited_out_and_never_taken_for_bytes(
    s3: str, no_known_outage: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)  # so that the page is asked for the region too
    with serving(S3InMaintenance) as address:
        monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", address)
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
            S3InMaintenance.pages = 2
            results.append(use())
            assert S3InMaintenance.pages == 0
        assert results == [None, b"new", 3, 4, [], b"new"]
        assert S3InMaintenance.held["/bucket/file"] == b"file"
        monkeypatch.setenv("SIGHTLINE_S3_WAIT", "1")
        S3InMaintenance.pages = 1000
        with pytest.raises(
            StorageError, match=r"answers with something that is not S3's XML \(tried \d times in 1 s\)"
        ):
            S3Store("s3://bucket").get_bytes("a")


@pytest.mark.timeout(60)
@pytest.mark.usefixtures("no_known_outage")
def test_a_server_that_takes_requests_and_stays_silent_is_noticed_and_given_up(
    s3: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", address)
        monkeypatch.setenv("SIGHTLINE_S3_WAIT", "10")
        monkeypatch.delenv("SIGHTLINE_PROGRESS", raising=False)
        with pytest.raises(StorageError, match=r"does not answer \(timed out; tried once\)"):
            open_store("s3://bucket")
    assert "has not answered for 8 s (it took the request and is silent)" in capsys.readouterr().err


@pytest.mark.usefixtures("no_known_outage")
def test_a_host_that_does_not_exist_is_a_mistake_and_not_waited_for(
    s3: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SIGHTLINE_PROGRESS", raising=False)
    monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", "http://no-such-host.invalid:9000")
    with pytest.raises(StorageUsageError, match=r"there is no host of the name in http://no-such-host.invalid:9000"):
        open_store("s3://bucket")
    assert "has not answered" not in capsys.readouterr().err


@pytest.mark.usefixtures("no_known_outage")
def test_a_name_server_that_does_not_answer_just_now_is_an_outage(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def lookup(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", "http://store.namespace:9000")
    monkeypatch.setenv("SIGHTLINE_S3_WAIT", "1")
    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with pytest.raises(StorageError, match=r"does not answer \(Temporary failure in name resolution; tried ") as caught:
        open_store("s3://bucket")
    assert caught.value.exit_code == 1


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
    code = (  # the handler: a shell that starts tests in the background makes them ignore the signal
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from pathlib import Path; from sightline.storage import Transfer; "
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
