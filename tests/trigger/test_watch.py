"""What a trigger starts: one run for each state of its data, whatever happens on the way."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from minio import Minio

from sightline.orchestrate import versions
from sightline.trigger.runs import Runs
from sightline.trigger.trigger_file import Trigger
from sightline.trigger.watch import Watch
from tests.helpers import compiled, trigger_service
from tests.helpers.kfp_stand_in import StandIn
from tests.helpers.s3_doubles import S3OfAnotherTime, serving
from tests.helpers.s3_server import BUCKET, s3_serving
from tests.helpers.trigger_service import TOKEN, Service, declare, put, record, s3_event

LONG = "1h"  # no listing but those at the start, and those that events bring about


def names(state: StandIn) -> list[str]:
    """The runs, the oldest first."""
    return [run.display_name for run in state.runs.values()]


def end(state: StandIn, how: str) -> None:
    for frames in state.frames.values():
        frames[:] = [(how, {})]


def test_new_data_that_is_quiet_starts_one_run_and_a_restart_no_other(
    service: Service, client: Minio, kfp_server: StandIn, s3: str
) -> None:
    service.start()
    service.wait_for(f"cells: nothing lies below s3://{s3}/cells")
    put(client, s3, "cells/a.jpg")
    put(client, s3, "cells/b.jpg")
    service.wait_for("started trigger-cells-")
    (run,) = kfp_server.runs.values()
    assert run.runtime_config.parameters == {"data": f"s3://{s3}/cells", "retrain": "changed"}
    service.wait(lambda: record(client, s3))
    kept = record(client, s3)
    assert run.display_name == f"trigger-cells-{kept['digest'][:12]}"
    assert (kept["run_id"], kept["objects"]) == (run.run_id, 2)
    assert "waiting until it has been quiet for 1 s" in service.log
    service.end()
    service.start()
    service.wait_for(f"submitted as {run.display_name}")
    assert names(kfp_server) == [run.display_name]


def test_a_run_whose_record_was_lost_is_found_by_its_name(
    service: Service, client: Minio, kfp_server: StandIn, s3: str
) -> None:
    put(client, s3, "cells/a.jpg")
    service.start()
    service.wait_for("started trigger-cells-")
    service.end(signal.SIGKILL)
    client.remove_object(s3, "store/triggers/cells.json")
    service.start()
    service.wait_for("was started before: trigger-cells-")
    service.wait(lambda: record(client, s3))
    assert names(kfp_server) == [record(client, s3)["run"]]


def test_a_run_whose_start_was_not_answered_is_no_reason_for_another(
    service: Service, client: Minio, kfp_server: StandIn, s3: str
) -> None:
    kfp_server.faults["POST /apis/v2beta1/runs"] = [(503, "busy"), "lost"]
    put(client, s3, "cells/a.jpg")
    service.start()
    service.wait_for("was started before: trigger-cells-")
    service.wait_for("cells: works again")
    assert len(kfp_server.runs) == 1
    assert service.log.count("Trying again.") == 2  # two different reasons, each said once


def test_data_that_changes_during_a_run_gets_one_run_after_it(
    service: Service, client: Minio, kfp_server: StandIn, s3: str
) -> None:
    kfp_server.script = [("RUNNING", {})]
    put(client, s3, "cells/a.jpg")
    service.start()
    service.wait(lambda: len(kfp_server.runs) == 1)
    (first,) = names(kfp_server)
    for number in range(3):
        put(client, s3, f"cells/more-{number}.jpg")
    service.wait_for(f"waiting for the end of {first}")
    put(client, s3, "cells/last.jpg")
    asked = kfp_server.requests.count("GET /apis/v2beta1/runs")
    service.wait(lambda: kfp_server.requests.count("GET /apis/v2beta1/runs") >= asked + 2)
    assert len(kfp_server.runs) == 1
    end(kfp_server, "FAILED")
    service.wait(lambda: record(client, s3).get("objects") == 5)
    assert len(kfp_server.runs) == 2


def test_data_that_changes_back_gets_a_run_of_its_own(
    service: Service, client: Minio, kfp_server: StandIn, s3: str
) -> None:
    put(client, s3, "cells/a.jpg")
    service.start()
    service.wait(lambda: len(kfp_server.runs) == 1)
    put(client, s3, "cells/b.jpg")
    service.wait(lambda: len(kfp_server.runs) == 2)
    client.remove_object(s3, "cells/b.jpg")
    service.wait(lambda: len(kfp_server.runs) == 3)
    first, second, third = names(kfp_server)
    assert first == third != second


def test_runs_of_others_do_not_count(
    service: Service, client: Minio, kfp_server: StandIn, s3: str, tmp_path: Path
) -> None:
    kfp_server.script = [("RUNNING", {})]
    declare(tmp_path, **{"cells": f"s3://{s3}/cells", "cells-2": f"s3://{s3}/cells-2"})
    put(client, s3, "cells-2/a.jpg")
    service.start()
    service.wait_for("started trigger-cells-2-")
    put(client, s3, "cells/a.jpg")
    service.wait(lambda: len(kfp_server.runs) == 2)
    assert {run.runtime_config.parameters["data"] for run in kfp_server.runs.values()} == {
        f"s3://{s3}/cells",
        f"s3://{s3}/cells-2",
    }


def test_a_server_of_several_users_gets_the_token_of_the_pod_also_after_it_was_renewed(
    service: Service, client: Minio, kfp_server: StandIn, s3: str, tmp_path: Path
) -> None:
    kfp_server.multi_user, kfp_server.token = True, "first"
    token = tmp_path / "token"
    token.write_text("first")
    put(client, s3, "cells/1.jpg")
    service.start(KFP_NAMESPACE="team-a", KF_PIPELINES_SA_TOKEN_PATH=str(token))
    service.wait(lambda: record(client, s3))
    kfp_server.token = "second"
    token.write_text("second")
    put(client, s3, "cells/2.jpg")
    service.wait(lambda: len(kfp_server.runs) == 2)
    assert {experiment.namespace for experiment in kfp_server.experiments.values()} == {"team-a"}
    assert "Trying again." not in service.log


def test_an_event_brings_the_listing_forward(
    service: Service, client: Minio, kfp_server: StandIn, s3: str, tmp_path: Path
) -> None:
    declare(tmp_path, every=LONG, cells=f"s3://{s3}/cells", odd=f"s3://{s3}/a b+ü")
    service.start()
    service.wait(lambda: service.log.count("nothing lies below") == 2)
    put(client, s3, "a b+ü/1.jpg")
    assert service.send(s3_event(s3, "a+b%2B%C3%BC%2F1.jpg")) == (202, {"triggers": ["odd"]})
    service.wait(lambda: len(kfp_server.runs) == 1)
    put(client, s3, "cells/1.jpg")
    for _ in range(20):
        service.send(s3_event(s3, "cells/1.jpg"))
    service.wait(lambda: len(kfp_server.runs) == 2)


def test_once_looks_at_each_prefix_and_ends(
    service: Service, client: Minio, kfp_server: StandIn, s3: str, tmp_path: Path
) -> None:
    declare(tmp_path, cells=f"s3://{s3}/cells", none=f"s3://{s3}/none")
    put(client, s3, "cells/1.jpg")
    service.wait(lambda: "started" in service.command("--once").stdout)
    done = service.command("--once")
    assert (done.returncode, done.stderr) == (0, "")
    assert "none: nothing lies below" in done.stdout
    assert f"submitted as {names(kfp_server)[0]}" in done.stdout
    assert len(kfp_server.runs) == 1


@pytest.mark.parametrize(
    ("ahead", "age", "starts"),
    [(-600.0, 1.0, False), (-600.0, 400.0, True), (600.0, 1.0, False), (600.0, 400.0, True), (None, 400.0, False)],
)
def test_at_the_start_the_stores_clock_says_how_long_data_has_been_quiet(
    kfp_server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead: float | None, age: float, starts: bool
) -> None:
    monkeypatch.setattr(S3OfAnotherTime, "ahead", ahead or 0.0)
    monkeypatch.setattr(S3OfAnotherTime, "says_date", ahead is not None)
    monkeypatch.setattr(S3OfAnotherTime, "age", age)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    sent = versions.package(compiled.write(tmp_path, deadline=60))
    runs = Runs(sent, str(tmp_path / "store"), namespace=None, experiment=None, service_account=None)
    with serving(S3OfAnotherTime) as address:
        monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", address)
        watch = Watch(Trigger(name="cells", prefix="s3://bucket/cells", enabled=True, quiet="300s"), runs)
        watch.look()
    assert watch.failed is None
    assert len(kfp_server.runs) == int(starts)


@pytest.mark.server
def test_the_webhook_of_seaweedfs_its_loss_and_the_loss_of_the_store(
    kfp_server: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weed").mkdir()
    with (
        trigger_service.serving(tmp_path) as service,
        s3_serving(tmp_path / "weed", (f"{service.address}/events", TOKEN)) as server,
    ):
        for name, value in {**server.variables(), "SIGHTLINE_STORE": f"s3://{BUCKET}/store"}.items():
            monkeypatch.setenv(name, value)
        client = server.client()
        declare(tmp_path, every=LONG, cells=f"s3://{BUCKET}/cells")
        service.start()
        service.wait_for("nothing lies below")
        put(client, BUCKET, "cells/a b+ü.jpg", b"x" * 6_000_000)  # in two parts
        service.wait_for("started trigger-cells-")
        assert f"cells: an event for s3://{BUCKET}/cells" in service.log
        assert ".uploads" not in service.log

        service.end()
        put(client, BUCKET, "cells/unheard.jpg")
        service.start()
        service.wait(lambda: len(kfp_server.runs) == 2)
        service.wait(lambda: record(client, BUCKET).get("objects") == 2)

        server.kill()
        service.send(s3_event(BUCKET, "cells/gone.jpg"))
        service.wait_for("Trying again.")
        status, words = service.request("GET", "/readyz")
        assert (status, words) == (503, "the last look did not work, or is still to come: cells\n")
        assert service.request("GET", "/healthz") == (200, "ok\n")
        server.start()
        service.wait_for("cells: works again, after ")
        assert service.request("GET", "/readyz")[0] == 200
        assert service.log.count("does not answer") == 1
        assert len(kfp_server.runs) == 2
