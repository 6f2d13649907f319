"""The newest runs are those that began last, whatever wrote their summaries when, and wherever they are known."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline import run_list
from sightline.documents import SummaryDocument, Unchanged
from sightline.documents.run_list import RunList
from sightline.errors import ConfigError, StorageError
from sightline.run_list import summaries
from sightline.run_store import RunStore
from sightline.storage import FileStore, Store, open_store
from tests.helpers.left_in_store import leave
from tests.helpers.summaries import FIRST, at, failed, put, scores, summary, took


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def written(store: Store, **hours: float) -> None:
    """Let summaries have been written so many hours after the first run began."""
    assert isinstance(store, FileStore)
    for run, when in hours.items():
        moment = FIRST.timestamp() + 3600 * when
        os.utime(store.root / "runs" / run / "summary.json", (moment, moment))


def listed(store: Store, tmp_path: Path, *, limit: int = 20, model: str | None = None) -> RunList:
    return run_list.collect(store.uri, tmp_path / "runs", model_name=model, limit=limit)


def ids(found: RunList) -> list[str]:
    return [line.run_id for line in found.runs]


def test_runs_come_by_their_start_and_one_that_was_finished_again_keeps_its_place(store: Store, tmp_path: Path) -> None:
    put(store, *(summary(f"r{hour}", hour) for hour in range(40)))
    written(store, **{f"r{hour}": hour + 0.5 for hour in range(40)})
    written(store, r3=100, r7=101)
    assert ids(listed(store, tmp_path, limit=3)) == ["r39", "r38", "r37"]
    assert ids(listed(store, tmp_path, limit=100)) == [f"r{hour}" for hour in range(39, -1, -1)]


def test_only_the_newest_summaries_are_read(store: Store, tmp_path: Path) -> None:
    put(store, *(summary(f"r{hour}", hour) for hour in range(200)))
    written(store, **{f"r{hour}": hour + 0.5 for hour in range(200)})
    read: list[str] = []

    class Counted(FileStore):
        def get_bytes(self, key: str) -> bytes:
            read.append(key)
            return super().get_bytes(key)

    found = summaries.in_store(Counted(store.root), 20, None)  # type: ignore[attr-defined]
    assert [line.run_id for line in found.runs] == [f"r{hour}" for hour in range(199, 179, -1)]
    assert len(read) == 20


def test_a_run_says_how_it_ended_why_and_what_it_took(store: Store, tmp_path: Path) -> None:
    stands = Unchanged(run_id="r0", status="registered", version="3", why="All is the same.")
    put(
        store,
        summary("good", 5, cost=took(1.5)),
        summary("out", 4, **failed('The task train ran out of memory; Kubernetes says: "x. y". Give it more.')),
        summary("wrong", 3.5, **failed("The run cannot start:\n  - No key. At all.\n  - Another.", "configuration")),
        summary("bad", 3, status="rejected", register=None, evaluate=scores(0.2, "rejected", "mAP50 is too low", "z")),
        summary("same", 2, status="unchanged", register=None, evaluate=None, unchanged=stands),
    )
    good, out, wrong, bad, same = listed(store, tmp_path).runs
    assert (good.name, good.status, good.verdict, good.version) == ("nightly good", "registered", "accepted", "3")
    assert (good.seconds, good.waiting_seconds, good.gpu_hours, good.map50_95) == (1800, 12, 1.5, 0.612)
    assert (good.started_at, good.finished_at, good.found_in) == (at(5), at(5.5), "store")
    assert good.cause is None
    assert out.cause
    assert (out.status, out.verdict, out.cause.kind) == ("failed", None, "memory")
    assert out.cause.sentence == 'The task train ran out of memory; Kubernetes says: "x.'
    assert wrong.cause
    assert (wrong.cause.kind, wrong.cause.sentence) == ("configuration", "The run cannot start: No key.")
    assert bad.cause
    assert (bad.verdict, bad.cause.kind, bad.cause.sentence) == ("rejected", "rejected", "mAP50 is too low.")
    assert same.cause
    assert same.cause.sentence == "Nothing was trained: run r0, registered as version 3, still stands. All is the same."


def test_a_run_without_a_summary_is_listed_without_a_status_and_with_its_model(store: Store, tmp_path: Path) -> None:
    leave(RunStore(store, "going"), tmp_path / "made", ["validate", "train"])
    put(store, summary("older", -10000))
    going, older = listed(store, tmp_path).runs
    assert (going.run_id, going.status, going.model_name) == ("going", None, "quickstart-smear")
    assert going.started_at == "2026-11-21T08:00:00.000+00:00"
    assert older.run_id == "older"


def test_only_runs_of_one_model_are_listed_and_an_unknown_one_names_those_there_are(
    store: Store, tmp_path: Path
) -> None:
    put(store, *(summary(f"r{hour}", hour, model="rare" if hour == 2 else "smear") for hour in range(60)))
    written(store, **{f"r{hour}": hour + 0.5 for hour in range(60)})
    put(store, summary("lost", 70, model=None, **failed("No such key.", "configuration")))
    assert ids(listed(store, tmp_path, limit=2)) == ["lost", "r59"]
    assert ids(listed(store, tmp_path, model="rare")) == ["r2"]
    with pytest.raises(ConfigError) as caught:
        listed(store, tmp_path, model="smeer")
    assert str(caught.value).startswith(
        f"There are no runs of the model 'smeer' in {store.uri}; models that have runs:"
    )
    assert "models that have runs: rare, smear." in str(caught.value)
    with pytest.raises(ConfigError, match="--model: got 'a b', expected at most"):
        listed(store, tmp_path, model="a b")


def test_a_summary_of_another_version_is_counted_and_hides_no_other(store: Store, tmp_path: Path) -> None:
    put(store, summary("good", 1))
    store.put_bytes("runs/old/summary.json", b'{"schema_version": 1}')
    store.put_bytes("runs/cut/summary.json", b"{")
    found = listed(store, tmp_path)
    assert ids(found) == ["good"]
    assert found.sources[0].note == (
        f"the store {store.uri} has runs that are not listed: 2 of another version, or damaged"
    )


def test_without_a_store_the_runs_of_this_machine_are_listed_and_one_that_goes_on(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for number in range(3):
        (runs / f"mine-{number}").mkdir(parents=True)
        summary(f"mine-{number}", number).write(runs / f"mine-{number}")
    (runs / "now").mkdir()
    asked = {"parameters": {"data": "quickstart"}, "started_at": at(9)}
    (runs / "now" / "arguments.json").write_text(json.dumps(asked))
    found = run_list.collect(None, runs, model_name=None, limit=20)
    assert ids(found) == ["now", "mine-2", "mine-1", "mine-0"]
    assert (found.runs[0].status, found.runs[0].model_name) == (None, "quickstart-smear")
    assert [source.place for source in found.sources] == ["folder"], "no tracking database was made for the question"
    assert not (runs / "mlflow.db").exists()


def test_a_bucket_is_listed_like_a_folder(s3: str, tmp_path: Path) -> None:
    store = open_store(f"s3://{s3}/team")
    put(store, *(summary(f"r{hour}", hour) for hour in range(6)))
    assert ids(listed(store, tmp_path, limit=4)) == ["r5", "r4", "r3", "r2"]


def test_a_place_that_cannot_be_asked_is_named_and_none_at_all_is_an_error(
    store: Store, tmp_path: Path, closed_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, summary("good", 1))
    assert listed(store, tmp_path).sources[1].problem == "MLFLOW_TRACKING_URI is not set here"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", closed_address)
    found = listed(store, tmp_path)
    assert ids(found) == ["good"]
    assert found.sources[1].problem
    assert found.sources[1].problem.startswith(f"No MLflow server answers at {closed_address}")
    lost(closed_address, monkeypatch)
    with pytest.raises(StorageError, match="does not answer"):
        run_list.collect("s3://bucket/team", tmp_path / "runs", model_name=None, limit=5)
    monkeypatch.setenv("SIGHTLINE_TRACKING", "off")
    assert [source.place for source in listed(store, tmp_path).sources] == ["store"]


def lost(address: str, environment: pytest.MonkeyPatch) -> None:
    """Name an object store that does not answer."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        environment.setenv(name, "x")
    environment.setenv("SIGHTLINE_S3_ENDPOINT", address)
    environment.setenv("SIGHTLINE_S3_WAIT", "0")


def recorded(uri: str, *runs: SummaryDocument) -> None:
    """Put runs on record in MLflow, as their last task does."""
    from sightline.tracking import records
    from sightline.tracking.server import client

    with client(uri) as mlflow:
        for run in runs:
            place = records.place(
                mlflow,
                run.run_id,
                uri=uri,
                name=run.name or "",
                experiment=f"team {run.model_name}",
                started_at=run.started_at,
                parameters={},
            )
            records.conclude(mlflow, place.run_id, run, "<p>page</p>")


@pytest.fixture
def tracked(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    return lambda *runs: recorded(mlflow_server, *runs)


def test_mlflow_adds_the_runs_that_have_no_summary_any_more_and_the_summary_is_the_truth(
    store: Store, tmp_path: Path, tracked: Callable[..., None]
) -> None:
    both = summary("both", 1, model="merged")
    tracked(
        both.model_copy(update={"name": "an older name"}),
        summary("alone", 2, model="merged", cost=took(0.25)),
        summary("failed", 4, model="merged", **failed("Out of memory.")),
        summary("begun", 3, model="merged", status=None, register=None),
        summary("other", 5, model="unmerged"),
        summary("mine", 6, model="merged"),
    )
    put(store, both)
    put(store, summary("mine-0123456789ab", 6, model="merged").model_copy(update={"run_id": "mine"}))
    leave(RunStore(store, "begun"), tmp_path / "made", ["validate"])
    found = listed(store, tmp_path, model="merged")
    assert ids(found) == ["mine", "failed", "begun", "alone", "both"]
    mine, bad, begun, alone, first = found.runs
    assert (mine.found_in, first.name, first.found_in) == ("store", "nightly both", "store")
    assert (alone.status, alone.verdict, alone.gpu_hours, alone.found_in) == ("registered", "accepted", 0.25, "mlflow")
    assert (alone.started_at, alone.seconds, alone.waiting_seconds) == (at(2), 1800, 12)
    assert (bad.status, begun.status, begun.name) == ("failed", None, "nightly begun")
    assert ids(listed(store, tmp_path, model="merged", limit=2)) == ["mine", "failed"]
    with pytest.raises(ConfigError) as caught:
        listed(store, tmp_path, model="none")
    assert "merged, " in str(caught.value)
    assert "unmerged" in str(caught.value)


def test_where_the_store_is_away_mlflow_alone_is_listed(
    tmp_path: Path, tracked: Callable[..., None], closed_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked(summary("remembered", 1, model="away"))
    lost(closed_address, monkeypatch)
    found = run_list.collect("s3://bucket/team", tmp_path / "runs", model_name="away", limit=5)
    assert ids(found) == ["remembered"]
    assert found.sources[0].problem
    assert "does not answer" in found.sources[0].problem
