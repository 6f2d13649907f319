"""The lease of a training: one holder at a time, taken over when it is silent, ended or the same run."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sightline.storage import Store, open_store
from sightline.train.lease import Lease, LostLease, _taken, acquire, beat_key, claims, identity, lease_key
from tests.helpers.checkpoints import TRAINING


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.server)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return open_store(f"{tmp_path}/store" if request.param == "file" else f"s3://{request.getfixturevalue('s3')}/lab")


def take(store: Store, run: str = "monday", **options: object) -> Lease:
    found = acquire(store, TRAINING, run=run, name=f"run {run}", **{"pause": 0.05} | options)
    assert isinstance(found, Lease)
    return found


def names(store: Store) -> list[str]:
    return [key.rpartition("/")[2] for key, _ in store.list("checkpoints/")]


def test_a_later_attempt_of_the_same_run_takes_over_at_once_and_the_earlier_one_is_refused(store: Store) -> None:
    first = take(store)
    first.check(store)
    second = take(store)
    assert (first.number, second.number) == (1, 2)
    assert second.before == first.claim
    second.check(store)
    with pytest.raises(LostLease, match="taken over: its checkpoints are kept by run monday since 2"):
        first.check(store)
    first.beat(store)  # late, and under its own number
    second.check(store)
    assert names(store) == ["beat-000001.json", "beat-000002.json", "lease-000002.json"]


def test_the_folder_of_the_holder_is_locked_so_who_works_there_takes_over_whatever_the_run(store: Store) -> None:
    first = take(store)
    assert take(store, "tuesday", predecessor=first.claim.token).number == 2


def test_a_holder_is_taken_over_after_silence_by_the_clock_of_the_store_and_not_before(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    first = take(store)
    begun = time.monotonic()
    assert take(store, "tuesday", silence=2.0).number == 2
    assert time.monotonic() - begun > 1.0, "objects in a bucket have their time in whole seconds"
    said = capsys.readouterr().err.splitlines()
    assert said[0] == (
        f"note: the same training is going on in run monday since {first.claim.since}; this run waits for its result."
    )
    assert said[1].startswith("note: nothing was heard of run monday for ")
    assert len(said) == 2
    with pytest.raises(LostLease):
        first.check(store)
    assert [name for name in names(store) if "asked" in name] == []


def test_who_waits_takes_the_result_while_the_holder_beats(store: Store) -> None:
    holder = take(store)
    over = threading.Event()

    def beats() -> None:
        while not over.wait(0.2):
            holder.beat(store)

    threading.Thread(target=beats).start()
    begun = time.monotonic()
    try:
        result = acquire(
            store,
            TRAINING,
            run="tuesday",
            name="run tuesday",
            silence=2.0,
            pause=0.1,
            finished=lambda: "result" if time.monotonic() - begun > 4 else None,
        )
    finally:
        over.set()
    assert result == "result"
    holder.check(store)


def test_a_holder_that_let_go_is_followed_at_once_and_one_that_finished_leaves_time_for_its_result(
    store: Store,
) -> None:
    take(store).beat(store, "ended")
    second = take(store, "tuesday")
    second.beat(store, "finished")
    assert take(store, "wednesday").number == 3, "who wants no result does not wait for it"
    take(store, "wednesday").beat(store, "finished")
    asked = iter([None, None, "result"])
    found = acquire(store, TRAINING, run="friday", name="run friday", pause=0.05, finished=lambda: next(asked))
    assert found == "result"


RACE = """
import sys
from sightline.storage import open_store
from sightline.train.lease import acquire
store = open_store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
lease = acquire(store, sys.argv[2], run=sys.argv[3], name=sys.argv[3], pause=0.05, finished=lambda: None, silence=60)
print(lease.number, flush=True)
"""


@pytest.mark.server
def test_of_processes_that_race_for_a_lease_one_wins_and_the_others_wait(s3: str) -> None:
    command = [sys.executable, "-c", RACE, f"s3://{s3}/lab", TRAINING]
    racers = [
        subprocess.Popen([*command, f"run-{number}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    try:
        for racer in racers:
            assert racer.stdout
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin
            racer.stdin.write("go\n")
            racer.stdin.flush()
        store = open_store(f"s3://{s3}/lab")
        deadline = time.monotonic() + 60
        while sum(racer.poll() is not None for racer in racers) < 1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1)
        done = [racer for racer in racers if racer.poll() is not None]
        assert [racer.stdout.read() for racer in done if racer.stdout] == ["1\n"]
        holder = json.loads(store.get_bytes(lease_key(TRAINING, 1)))
        assert holder["run"] == f"run-{racers.index(done[0])}"
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()


def test_who_comes_late_for_a_number_that_was_given_up_does_not_hold_it(store: Store) -> None:
    """It had looked, and was held up while two others took the training over."""
    first, second = take(store), take(store)
    third = take(store)
    assert claims(store, TRAINING) == [3]
    store.delete([beat_key(TRAINING, second.number)])
    assert _taken(store, TRAINING, second.number, first.claim, None) is None
    assert claims(store, TRAINING) == [3]
    third.check(store)


def test_other_bytes_under_its_number_end_a_lease(store: Store) -> None:
    """A server without conditional puts let two take the same number."""
    lease = take(store)
    other = lease.claim.model_copy(update={"token": "another", "name": "run tuesday"})
    store.put_bytes(lease_key(TRAINING, 1), other.model_dump_json().encode())
    with pytest.raises(LostLease, match="run tuesday"):
        lease.check(store)


def test_the_attempts_of_a_run_share_what_the_environment_calls_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGHTLINE_RUN_ID", raising=False)
    monkeypatch.delenv("SIGHTLINE_RUN_KEY", raising=False)
    assert identity() is None
    monkeypatch.setenv("SIGHTLINE_RUN_ID", "nightly")
    assert identity() == "nightly"
    monkeypatch.setenv("SIGHTLINE_RUN_KEY", "nightly-5f")
    assert identity() == "nightly-5f"
