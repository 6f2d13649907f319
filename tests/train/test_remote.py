"""Pushed checkpoints: another machine goes on with them, and neither an outage nor another run costs a training."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sightline.storage import Store, open_store, sha256_file
from sightline.storage.patience import Outage
from sightline.train.pushed import contents
from sightline.train.remote import Remote, Timing, remote_for
from tests.helpers.checkpoints import TRAINING, checkpoint
from tests.helpers.content import MIB
from tests.helpers.s3_server import BUCKET, S3Server
from tests.helpers.tcp_proxy import TcpProxy

QUICK = Timing(silence=60, beat=0.2, ask=0.1, note=0.3, retry=0.2, push=60, drain=20)


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.server)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(f"{tmp_path}/store" if request.param == "file" else f"s3://{request.getfixturevalue('s3')}/lab")


def remote(store: Store, work: Path, run: str = "monday", timing: Timing = QUICK) -> Remote:
    """A process that trains: it holds the lease, and has what was pushed."""
    made = Remote(store, TRAINING, work, run=run, name=f"run {run}", timing=timing)
    assert made.claim() is None
    made.fetch()
    return made


def until(true: Callable[[], object], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def epochs(store: Store) -> list[tuple[int, int]]:
    """Lease and epoch of what lies in the store, the newest first."""
    return [(item.number, item.epoch) for item in contents(store, TRAINING).checkpoints]


def push(by: Remote, epoch: int, **facts: int) -> Path:
    manifest = checkpoint(by.work, epoch, **facts)
    by.offer(manifest)
    until(lambda: by._pusher and by._pusher._done == by._pusher._offered)
    return manifest


def files(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted((folder / "checkpoints").iterdir())}


# --- another machine goes on


def test_a_new_machine_gets_the_newest_two_the_best_and_the_attempts(store: Store, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    with remote(store, here) as one:
        for epoch in range(1, 7):
            push(one, epoch, best=min(epoch, 2))
        (here / "attempts.json").write_text('["first"]')
        one.note(here / "attempts.json")
        until(lambda: contents(store, TRAINING).attempts)
        (here / "attempts.json").write_text('["first", "second"]')
        until(lambda: b"second" in store.get_bytes(f"checkpoints/{TRAINING}/000001/attempts.json"))
        (here / "attempts.json").write_text('["first", "preempted"]')
    assert epochs(store) == [(1, 6), (1, 5), (1, 2)]
    assert len([key for key, _ in store.list(f"checkpoints/{TRAINING}/000001/")]) == 7, "nothing else remains"

    with Remote(store, TRAINING, there, run="monday", name="run monday", timing=QUICK) as two:
        two.claim()
        assert two.same_run
        assert [path.name for path in two.fetch()] == ["epoch-0006.json", "epoch-0005.json", "epoch-0002.json"]
        assert files(there) == {name: digest for name, digest in files(here).items() if name[6:10] in "0006 0005 0002"}
        assert json.loads((there / "attempts.json").read_text()) == ["first", "preempted"]
        assert two.fetch() == [], "it has them"
        push(two, 7, best=2)
        assert epochs(store) == [(2, 7), (1, 6), (1, 2)]
        two.finish()
    assert contents(store, TRAINING).keys == []
    assert [key.rpartition("/")[2] for key, _ in store.list()] == ["beat-000002.json", "lease-000002.json"]


def test_a_checkpoint_is_kept_once_it_is_where_another_machine_would_go_on_from(store: Store, tmp_path: Path) -> None:
    """Until then its epoch may be trained a second time, with other times, and is not on record anywhere."""
    work = tmp_path / "work"
    with remote(store, work) as one:
        first = checkpoint(work, 1)
        assert one.kept(first) is None
        push(one, 1)
        assert one.kept(checkpoint(work, 2)) == first.read_bytes()
    alone = Remote(store, TRAINING, work, run="monday", name="a run that may not write", timing=QUICK)
    assert alone.kept(first) == first.read_bytes()


def test_the_event_file_goes_with_each_checkpoint_and_the_newest_attempts_alone_remains(
    store: Store, tmp_path: Path
) -> None:
    events = tmp_path / "tensorboard"
    events.mkdir()

    def holder(work: str) -> Remote:
        made = Remote(store, TRAINING, tmp_path / work, run="monday", name="run monday", timing=QUICK, events=events)
        assert made.claim() is None
        made.fetch()
        return made

    with holder("one") as one:
        push(one, 1)  # before there is one
        assert contents(store, TRAINING).events == []
        written = events / "events.out.tfevents.1700000000.attempt-1"
        written.write_bytes(b"first")
        push(one, 2)
        written.write_bytes(b"first, second")
        push(one, 3)
        [key] = contents(store, TRAINING).events
        assert key == f"checkpoints/{TRAINING}/000001/{written.name}"
        assert store.get_bytes(key) == b"first, second"
    with holder("two") as two:
        written.rename(events / "events.out.tfevents.1700000009.attempt-2")
        push(two, 4)
        [key] = contents(store, TRAINING).events
        assert key.endswith("/000002/events.out.tfevents.1700000009.attempt-2")
        two.finish()
    assert contents(store, TRAINING).keys == []


def test_the_best_is_pushed_even_if_it_was_passed_over(store: Store, tmp_path: Path) -> None:
    with remote(store, tmp_path / "work") as one:
        push(one, 1)
        checkpoint(tmp_path / "work", 2)  # a newer one came before its turn
        push(one, 3, best=2)
        assert epochs(store) == [(1, 3), (1, 2), (1, 1)]
        push(one, 4, best=2)
        assert epochs(store) == [(1, 4), (1, 3), (1, 2)]


def test_what_was_pushed_before_a_step_back_no_longer_counts(store: Store, tmp_path: Path) -> None:
    """After a loss that is not finite a training goes back, and its next epochs are others of the same number."""
    with remote(store, tmp_path / "one") as one:
        for epoch in (4, 5, 6):
            push(one, epoch)
        (tmp_path / "one/checkpoints/epoch-0006.json").unlink()
        again = push(one, 5, seed=1)
    with remote(store, tmp_path / "two"):
        found = files(tmp_path / "two")
    assert sorted(found) == ["epoch-0005.json", "epoch-0005.pt"]
    assert found["epoch-0005.pt"] == sha256_file(again.with_suffix(".pt"))


def test_the_folder_that_trained_last_keeps_what_it_has(store: Store, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    with remote(store, here) as one:
        push(one, 1)
    checkpoint(here, 2)  # not pushed any more
    with remote(store, here):
        assert sorted(files(here)) == [f"epoch-000{n}.{kind}" for n in (1, 2) for kind in ("json", "pt")]
    with remote(store, there) as two:
        assert sorted(files(there)) == ["epoch-0001.json", "epoch-0001.pt"]
        push(two, 2, seed=1)
    with remote(store, here):
        assert files(here) == files(there), "another machine has gone on since"


@pytest.mark.parametrize("damage", ["truncated", "foreign", "gone", "no manifest", "misnamed"])
def test_a_checkpoint_that_cannot_be_used_is_named_and_the_one_before_it_used(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    with remote(store, tmp_path / "one") as one:
        for epoch in (1, 2, 3):
            push(one, epoch)
    place = f"checkpoints/{TRAINING}/000001/0003-epoch-0003"
    manifest = json.loads(store.get_bytes(f"{place}.json"))
    changes: dict[str, Callable[[], None]] = {
        "truncated": lambda: store.put_bytes(f"{place}.pt", store.get_bytes(f"{place}.pt")[:500]),
        "foreign": lambda: store.put_bytes(f"{place}.json", json.dumps(manifest | {"key": "0" * 64}).encode()),
        "gone": lambda: store.delete([f"{place}.pt"]),
        "no manifest": lambda: store.put_bytes(f"{place}.json", b"{"),
        "misnamed": lambda: store.put_bytes(f"{place}.json", json.dumps(manifest | {"epoch": 9}).encode()),
    }
    changes[damage]()
    with remote(store, tmp_path / "two"):
        assert {name[6:10] for name in files(tmp_path / "two")} == {"0002"}
    words = {
        "truncated": "has sha256",
        "foreign": "it is of another training",
        "gone": "does not exist",
        "no manifest": "its manifest cannot be read",
        "misnamed": "its manifest is of epoch 9",
    }
    said = capsys.readouterr().err
    assert f"note: the checkpoint {store.uri}/{place}.pt cannot be used: " in said
    assert words[damage] in said


def test_a_training_that_starts_afresh_forgets_what_was_pushed(store: Store, tmp_path: Path) -> None:
    with remote(store, tmp_path / "one") as one:
        push(one, 1)
    two = Remote(store, TRAINING, tmp_path / "two", run="tuesday", name="run tuesday", timing=QUICK)
    with two:
        two.claim()
        assert not two.same_run
        two.forget()
        assert two.fetch() == []
        assert epochs(store) == []


# --- one at a time


def test_a_run_that_was_taken_over_says_so_pushes_no_more_and_deletes_nothing(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with remote(store, tmp_path / "one") as one:
        push(one, 1)
        with remote(store, tmp_path / "two") as two:
            until(lambda: one.lost)
            one.offer(checkpoint(tmp_path / "one", 2))
            push(two, 2)
            one.finish()
            one.close()
            assert epochs(store) == [(2, 2), (1, 1)]
            assert two.lost is None
    assert capsys.readouterr().err.count("taken over") == 1


def test_a_second_run_takes_the_result_of_the_first(store: Store, tmp_path: Path) -> None:
    results: list[str] = []
    with remote(store, tmp_path / "one") as one:
        two = Remote(store, TRAINING, tmp_path / "two", run="tuesday", name="run tuesday", timing=QUICK)
        found: list[object] = []
        waits = threading.Thread(target=lambda: found.append(two.claim(lambda: next(iter(results), None))))
        waits.start()
        time.sleep(0.5)
        assert not found
        one.finish()
        time.sleep(0.5)
        assert not found, "the result comes a moment later"
        results.append("trained")
        waits.join(20)
        assert found == ["trained"]


# --- outages


@pytest.fixture
def own(own_s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    Outage._known.clear()
    for name, value in {**own_s3_server.variables(), "SIGHTLINE_S3_WAIT": "60"}.items():
        monkeypatch.setenv(name, value)
    yield own_s3_server
    Outage._known.clear()


def test_a_store_that_is_killed_while_it_receives_a_checkpoint_costs_nothing_but_time(
    own: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    proxy = TcpProxy(own.address)
    proxy.up_rate = 4 * MIB
    monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", proxy.address)
    store = open_store(f"s3://{BUCKET}/lab")
    with remote(store, tmp_path / "one") as one:
        push(one, 1)
        one.offer(checkpoint(tmp_path / "one", 2, size=24 * MIB))
        until(lambda: sum(len(request) for request in proxy.requests) > 8 * MIB)
        own.kill()
        begun = time.monotonic()
        one.offer(checkpoint(tmp_path / "one", 3, size=MIB))
        assert time.monotonic() - begun < 0.5, "nobody waits"
        until(lambda: one._outages.failing)
        time.sleep(1)
        assert one.lost is None
        proxy.up_rate = 1e12
        own.start()
        own.wait()
        until(lambda: one._pusher and one._pusher._done == 3)
        assert epochs(store) == [(1, 3), (1, 1)], "the newest came, and what was cut left nothing"
        assert len(contents(store, TRAINING).keys) == 4
    with remote(store, tmp_path / "two"):
        assert {name[6:10] for name in files(tmp_path / "two")} == {"0003", "0001"}
    said = capsys.readouterr().err
    assert said.count("training goes on, but the object store cannot be used") == 1
    assert "note: the object store can be used again" in said
    proxy.down()


def test_the_end_of_a_training_does_not_wait_for_a_store_that_is_away(own: S3Server, tmp_path: Path) -> None:
    store = open_store(f"s3://{BUCKET}/lab")
    with remote(store, tmp_path / "one") as one:
        push(one, 1)
        own.kill()
        one.offer(checkpoint(tmp_path / "one", 2))
        begun = time.monotonic()
        one.finish()
    assert time.monotonic() - begun < 10


@pytest.mark.server
def test_a_push_that_takes_too_long_is_given_up_and_the_next_one_tried(
    s3: str, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    proxy = TcpProxy(s3_server.address)
    proxy.up_rate = 8 * MIB
    monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", proxy.address)
    store = open_store(f"s3://{s3}/lab")
    with remote(store, tmp_path / "one", timing=QUICK._replace(push=0.5)) as one:
        one.offer(checkpoint(tmp_path / "one", 1, size=30 * MIB))
        until(lambda: one._outages.failing)
        push(one, 2)
        assert epochs(store) == [(1, 2)]
    assert "the checkpoint of epoch 1 (30 MiB) was not sent within 0" in capsys.readouterr().err
    proxy.down()


@pytest.mark.server
def test_who_may_not_write_trains_without_pushing(
    s3: str, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in s3_server.variables("reader-key").items():
        monkeypatch.setenv(name, value)
    found = remote_for(f"s3://{s3}/lab", TRAINING, tmp_path / "work")
    assert found
    with found:
        assert found.claim() is None
        assert found.fetch() == []
        found.offer(checkpoint(tmp_path / "work", 1))
        found.note(tmp_path / "attempts.json")
        found.finish()
    assert "note: checkpoints are kept on this machine alone: s3://" in capsys.readouterr().err


def test_a_store_on_this_machine_gains_nothing(tmp_path: Path) -> None:
    assert remote_for(f"file://{tmp_path}/store", TRAINING, tmp_path) is None
