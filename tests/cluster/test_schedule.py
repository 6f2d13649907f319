"""A schedule that starts two runs, the second of which finds nothing new."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import yaml

from pipelines.compile import compiled
from pipelines.options import HOUR, Options
from tests.helpers import cluster_records
from tests.helpers.cluster import Cluster, wait

MODEL = {"register_model_name": "quickstart-nightly", "retrain": "changed"}


def test_a_schedule_fires_twice_and_trains_only_what_changed(
    cluster: Cluster, first: SimpleNamespace, tmp_path: Path
) -> None:
    assert first.quickstart.ended["state"] == "SUCCEEDED"  # whose training the first one takes
    pipeline = tmp_path / "train.yaml"
    pipeline.write_text(compiled(Options(deadline=HOUR)))
    declared = {"name": "nightly", "cron": "* * * * *", "time_zone": "Europe/Berlin", "enabled": True}
    schedule(cluster, tmp_path, pipeline, [declared | {"parameters": MODEL}])
    experiment = cluster.server.experiment(cluster.at.experiment)

    def started() -> list[str]:
        listed = cluster_records.runs_of(cluster.server, experiment)
        return [run.run_id for run in reversed(listed) if run.recurring_run_id]

    try:
        wait(lambda: len(started()) >= 2, "a schedule fires twice", seconds=1200)
    finally:
        schedule(cluster, tmp_path, pipeline, [])
    runs = [cluster.followed(f"nightly {number}", run_id, {}) for number, run_id in enumerate(started()[:2], 1)]
    assert [(run.ended["state"], run.summary["status"]) for run in runs] == [
        ("SUCCEEDED", "registered"),
        ("SUCCEEDED", "unchanged"),
    ]
    assert runs[0].statuses()["train"] == "cached"
    assert runs[1].summary["unchanged"]["run_id"] == runs[0].run_id
    assert set(runs[1].tasks()) == {"validate", "gate", "conclude"}


def schedule(cluster: Cluster, folder: Path, pipeline: Path, declared: list[dict[str, object]]) -> None:
    """Make the server match a file of schedules."""
    file = folder / "schedules.yaml"
    file.write_text(yaml.safe_dump({"schedules": declared}))
    done = cluster.sightline("schedule", "--file", str(file), "--pipeline", str(pipeline), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(json.loads(done.stdout)["schedules"]) == 1
