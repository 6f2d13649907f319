"""The quickstart on a cluster: from the uploaded file, by `sightline submit`, and again."""

from __future__ import annotations

from types import SimpleNamespace

from mlflow import MlflowClient

from tests.helpers.cluster import Cluster
from tests.helpers.cluster_records import recorded

STAGES = ("validate", "train", "export", "evaluate", "sample", "report", "register")
CACHED = ("train", "export", "evaluate")
MOST_PODS = 26


def test_the_form_as_it_opens_runs_to_a_registered_version(first: SimpleNamespace, cluster: Cluster) -> None:
    run = first.quickstart
    assert (run.ended["state"], run.exit_code) == ("SUCCEEDED", 0)
    assert (run.summary["status"], run.summary["run_id"], run.summary["name"]) == ("registered", run.run_id, run.name)
    assert run.statuses() == dict.fromkeys(STAGES, "done")
    version = run.summary["register"]
    assert version["model_name"] == "quickstart-smear"
    found = MlflowClient(cluster.tracking).get_model_version(version["model_name"], version["version"])
    (record,) = recorded(cluster, run.run_id)
    assert (found.run_id, record.info.status) == (record.info.run_id, "FINISHED")
    assert "Registered" in run.page
    assert b"</html>" in run.artifact("validate", "data_report")
    assert len(run.all_pods()) <= MOST_PODS


def test_every_pod_meets_the_restricted_level_and_the_limits(first: SimpleNamespace, cluster: Cluster) -> None:
    run = first.quickstart
    assert run.ended["state"] == "SUCCEEDED"
    for pod in run.pods():
        assert pod["spec"]["serviceAccountName"] == "sightline"
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["runAsNonRoot"]
            assert set(container["resources"]["limits"]) >= {"cpu", "memory", "ephemeral-storage"}, container["name"]


def test_what_is_sent_twice_is_one_version_and_trains_nothing(again: SimpleNamespace, first: SimpleNamespace) -> None:
    for run in (again.tonight, again.twin):
        assert (run.ended["state"], run.exit_code, run.summary["status"]) == ("SUCCEEDED", 0, "registered")
        assert run.tasks()["train"].state == "cached"
        assert run.statuses() == dict.fromkeys(STAGES, "done") | dict.fromkeys(
            ("train", "export", "evaluate"), "cached"
        )
        notes = {stage["note"] for stage in run.summary["stages"] if stage["status"] == "cached"}
        assert notes == {f"from run {first.quickstart.run_id}"}
        assert "Registered" in run.page
        assert run.summary["export"]["sha256"] == first.quickstart.summary["export"]["sha256"]
    assert again.tonight.sent["version_id"] == again.twin.sent["version_id"]
    assert not again.twin.sent["uploaded"]


def test_two_runs_of_one_name_with_a_quote_in_it_are_two_runs(again: SimpleNamespace, cluster: Cluster) -> None:
    records = [record for run in (again.tonight, again.twin) if run.ended for record in recorded(cluster, run.run_id)]
    assert len(records) == 2
    assert {record.info.run_name for record in records} == {"tonight's run"}
    assert len({record.info.run_id for record in records}) == 2
    assert again.tonight.summary["name"] == again.twin.summary["name"] == "tonight's run"
    assert again.tonight.summary["register"]["version"] != again.twin.summary["register"]["version"]


def test_other_memory_trains_nothing_either(again: SimpleNamespace, first: SimpleNamespace) -> None:
    run = again.memory
    assert (run.ended["state"], run.exit_code, run.summary["status"]) == ("SUCCEEDED", 0, "registered")
    assert run.tasks()["train"].state == "done"
    assert run.statuses()["train"] == "cached"
    assert run.summary["export"]["sha256"] == first.quickstart.summary["export"]["sha256"]
    (pod,) = run.pods("sightline.ml/stage=train")
    (main,) = [each for each in pod["spec"]["containers"] if each["name"] == "main"]
    assert main["resources"]["limits"]["memory"] == "2900Mi"


def test_data_that_did_not_change_ends_the_run_without_training(again: SimpleNamespace, first: SimpleNamespace) -> None:
    run = again.unchanged
    assert (run.ended["state"], run.exit_code, run.summary["status"]) == ("SUCCEEDED", 0, "unchanged")
    earlier = {each.run_id for each in (first.quickstart, again.tonight, again.twin, again.memory)}
    assert run.summary["unchanged"]["run_id"] in earlier
    assert run.summary["unchanged"]["run_id"] in run.page
    assert set(run.tasks()) == {"validate", "gate", "conclude"}


def test_make_submit_finds_the_version_too(again: SimpleNamespace, cluster: Cluster) -> None:
    done = cluster.make("submit", "--no-run --json")
    assert (done["uploaded"], done["version_id"]) == (False, again.tonight.sent["version_id"])
