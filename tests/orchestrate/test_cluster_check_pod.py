"""What a cluster check learns from a pod: by a Job that looks like a task, and is removed however it ends."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import kfp_server_api as kfp
import pytest
import yaml

from pipelines.compile import compiled
from pipelines.options import Options
from sightline import probe
from sightline.cluster import job, reach
from sightline.cluster.findings import Finding
from sightline.config import RunConfig
from sightline.config.parameters import PipelineParameters
from sightline.orchestrate import versions
from sightline.orchestrate.cluster_check import asked, inside, outside
from sightline.orchestrate.cluster_check.server import PipelinesServer
from tests.helpers.kfp_stand_in import StandIn
from tests.helpers.kubernetes_double import KubernetesDouble
from tests.helpers.kubernetes_objects import job_pod, named, usual, with_job_pods
from tests.helpers.s3_server import S3Server

Object = dict[str, Any]
IMAGES = "127.0.0.1:1/sightline-data:1,127.0.0.1:1/sightline-train:1,127.0.0.1:1/sightline-infer:1"


@functools.cache
def tasks(folder: Path, gpus: str = "0", **options: Any) -> Any:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SIGHTLINE_IMAGES", IMAGES)
        file = folder / "pipeline.yaml"
        file.write_text(compiled(Options(**options)))
        return asked.tasks(versions.package(file), PipelineParameters.given({"train_gpus": gpus}))


@pytest.fixture
def ask(kubernetes_server: KubernetesDouble, tmp_path: Path) -> Any:
    """Asks from inside, with a second's wait for the pod."""

    def asks(wait: float = 1.0, **options: Any) -> list[Finding]:
        api = reach("kubeflow")
        assert api
        found = tasks(tmp_path, **options)
        return inside.ask(api, found, RunConfig(), account="runner", wait=wait, tell=lambda words: None)

    return asks


def in_state(state: Object) -> Any:
    """Let the pod of a Job be in a state for ever."""

    def start(server: KubernetesDouble, created: Object) -> None:
        if created["kind"] == "Job":
            server.add(job_pod(created, state))

    return start


def waiting(reason: str, message: str) -> Object:
    container = {"name": "check", "state": {"waiting": {"reason": reason, "message": message}}}
    return {"phase": "Pending", "containerStatuses": [container]}


def test_a_pod_finds_a_usable_store_and_its_settings(
    ask: Any, kubernetes_server: KubernetesDouble, s3_server: S3Server, s3: str
) -> None:
    usual(kubernetes_server)
    keys = s3_server.variables()
    plain = {"SIGHTLINE_STORE": f"s3://{s3}/runs", "SIGHTLINE_TRACKING": "off", "KFP_ENDPOINT": "http://127.0.0.1:1"}
    plain |= {name: keys[name] for name in ("SIGHTLINE_S3_ENDPOINT", "AWS_REGION") if name in keys}
    kubernetes_server.add(named("v1", "ConfigMap", "sightline", data=plain))
    secret = {name: keys[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    with_job_pods(kubernetes_server, secrets={"sightline-s3": secret}, KUBECONFIG=os.environ["KUBECONFIG"])
    found = ask(60.0)
    levels = {each.check: each.level for each in found}
    assert levels == {"settings": "ok", "secrets": "ok", "store": "ok", "clock": "ok", "tracking": "ok", "rights": "ok",
                      "ending": "warning"}  # fmt: skip
    words = " ".join(each.words for each in found)
    assert f"s3://{s3}/runs: written, listed, read and deleted" in words
    assert "Secret sightline-s3: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY" in words
    assert secret["AWS_SECRET_ACCESS_KEY"] not in words
    assert (kubernetes_server.of("Job", "batch"), kubernetes_server.of("Pod")) == ([], [])


def test_a_missing_key_is_named_and_what_follows_from_it(ask: Any, kubernetes_server: KubernetesDouble) -> None:
    usual(kubernetes_server)
    settings = {"SIGHTLINE_STORE": "s3://bucket/x", "SIGHTLINE_S3_ENDPOINT": "http://127.0.0.1:1"}
    kubernetes_server.add(named("v1", "ConfigMap", "sightline", data=settings))
    secrets = {"sightline-s3": {"AWS_ACCESS_KEY_ID": "key"}}
    with_job_pods(kubernetes_server, secrets=secrets, KUBECONFIG=os.environ["KUBECONFIG"])
    kubernetes_server.rights = lambda user, attributes: attributes["resource"] != "workflowtaskresults"
    found = [(each.check, each.words) for each in ask(60.0) if each.level == "problem"]
    assert [check for check, _ in found] == ["secrets", "settings", "store", "tracking", "rights"]
    words = dict(found)
    assert words["secrets"].startswith("the Secret sightline-s3 has no key AWS_SECRET_ACCESS_KEY")
    assert "set AWS_SECRET_ACCESS_KEY" in words["store"]
    assert words["settings"].startswith("MLFLOW_TRACKING_URI is not set")
    assert "a database in this pod would be gone" in words["tracking"]
    assert "may not create workflowtaskresults, patch workflowtaskresults" in words["rights"]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (waiting("ImagePullBackOff", 'Back-off pulling image "x"'), 'ImagePullBackOff: Back-off pulling image "x"'),
        (waiting("CreateContainerConfigError", "image will run as root"), "ConfigError: image will run as root"),
        (
            {
                "phase": "Pending",
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
                ],
            },
            "Unschedulable: 0/1 nodes",
        ),
    ],
)
def test_a_pod_that_does_not_start_is_named_and_removed(
    state: Object, words: str, ask: Any, kubernetes_server: KubernetesDouble
) -> None:
    usual(kubernetes_server)
    kubernetes_server.on_create = in_state(state)
    (found,) = ask()
    assert (found.check, found.level) == ("pod", "problem")
    assert "127.0.0.1:1/sightline-data:1: its pod has not started in 1 s" in found.words
    assert words in found.words
    assert (kubernetes_server.of("Job", "batch"), kubernetes_server.of("Pod")) == ([], [])


def test_a_pod_that_is_not_let_in_is_named_by_the_jobs_event(ask: Any, kubernetes_server: KubernetesDouble) -> None:
    usual(kubernetes_server)

    def refused(server: KubernetesDouble, created: Object) -> None:
        name = created["metadata"]["name"]
        event = {"reason": "FailedCreate", "type": "Warning", "message": "pods is forbidden: exceeded quota: compute"}
        server.add(named("v1", "Event", f"{name}.1", involvedObject={"kind": "Job", "name": name}, **event))

    kubernetes_server.on_create = refused
    assert "FailedCreate: pods is forbidden: exceeded quota: compute" in ask()[0].words
    kubernetes_server.forbidden = {"list events"}
    assert "there is no pod" in ask()[0].words


def test_a_pod_that_ends_without_an_answer_shows_its_last_words(ask: Any, kubernetes_server: KubernetesDouble) -> None:
    usual(kubernetes_server)
    ended = {"name": "check", "state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}
    state = {"phase": "Failed", "containerStatuses": [ended]}

    def died(server: KubernetesDouble, created: Object) -> None:
        server.add(job_pod(created, state))
        server.logs[f"{created['metadata']['name']}-x"] = "No module named sightline.probe\n"

    kubernetes_server.on_create = died
    (found,) = ask()
    assert "(OOMKilled, exit code 137): No module named sightline.probe" in found.words
    kubernetes_server.forbidden = {"get pods/log"}
    assert "its log cannot be read" in ask()[0].words


def test_a_job_that_may_not_be_made_is_said_and_one_that_is_refused_is_a_problem(
    ask: Any, kubernetes_server: KubernetesDouble
) -> None:
    usual(kubernetes_server)
    kubernetes_server.forbidden = {"create jobs"}
    (found,) = ask()
    assert (found.level, found.words) == (
        "unknown", "nothing was asked from inside: you may not create jobs in kubeflow",
    )  # fmt: skip
    kubernetes_server.forbidden.clear()
    path = "POST /apis/batch/v1/namespaces/kubeflow/jobs"
    kubernetes_server.faults = {path: [(403, "admission webhook denied the request: no team label")]}
    (found,) = ask()
    assert (found.level, "no team label" in found.words) == ("problem", True)


def test_the_pod_is_like_a_task_and_its_job_ends_by_itself(kubernetes_server: KubernetesDouble, tmp_path: Path) -> None:
    found = tasks(tmp_path, cache_claim="cache", pull_secret="registry", owner="vision")
    like = next(task for task in found if task.task == "validate")
    made = job.body(like, found, account="runner", wait=300, question={})
    spec, template = made["spec"], made["spec"]["template"]
    assert (spec["backoffLimit"], spec["ttlSecondsAfterFinished"], spec["activeDeadlineSeconds"]) == (0, 60, 480)
    labels = template["metadata"]["labels"]
    assert (labels["sightline.ml/stage"], labels["sightline.ml/owner"]) == ("check", "vision")
    pod = template["spec"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    (container,) = pod["containers"]
    assert container["image"] == "127.0.0.1:1/sightline-data:1"
    assert container["securityContext"] == {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["resources"]["limits"] == {"cpu": "1", "memory": "536870912"}
    assert {each["mountPath"] for each in container["volumeMounts"]} == {"/tmp", "/tmp/sightline"}
    references = [each for each in container["env"] if "fieldRef" not in each["valueFrom"]]
    assert all(next(iter(each["valueFrom"].values()))["optional"] for each in references)
    names = {each["name"] for each in container["env"]}
    assert {"SIGHTLINE_STORE", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "KFP_POD_UID"} <= names


def test_the_component_of_the_manifests_gives_every_right_that_a_check_uses(
    ask: Any, kfp_server: StandIn, kubernetes_server: KubernetesDouble, tmp_path: Path, closed_address: str
) -> None:
    usual(kubernetes_server)
    kubernetes_server.unknown.clear()
    pending = {"spec": {"accessModes": [], "storageClassName": "nfs"}, "status": {"phase": "Pending"}}
    kubernetes_server.add(named("v1", "PersistentVolumeClaim", "cache", **pending))
    found = tasks(tmp_path, cache_claim="cache", gpus="1")
    kfp_server.runs["earlier"] = kfp.V2beta1Run(run_id="earlier", display_name="earlier", state="SUCCEEDED")
    kfp_server.frames["earlier"], kfp_server.spec = [("SUCCEEDED", {})], {"entrypoint": "x"}
    outside.look(PipelinesServer(None, "sightline"), found, images=(), service_account=None)
    ask()
    kubernetes_server.on_create = in_state({"phase": "Failed"})
    ask()
    own = {("create", "authorization.k8s.io", "selfsubjectaccessreviews")}  # everybody may ask about himself
    used = {(verb, group, plural) for verb, group, plural, _ in kubernetes_server.used} - own
    anywhere = {(verb, group, plural) for verb, group, plural, namespaced in kubernetes_server.used if not namespaced}
    assert used == given("cluster") | given("namespace")
    assert anywhere - own <= given("cluster")


def given(file: str) -> set[tuple[str, str, str]]:
    """The rights of the roles in a file of the component: verb, group and plural."""
    path = Path(__file__).parents[2] / "manifests" / "components" / "cluster-check" / f"{file}.yaml"
    rules = [rule for each in yaml.safe_load_all(path.read_text()) for rule in each.get("rules", [])]
    return {
        (verb, group, plural)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for plural in rule["resources"]
    }


def test_leftovers_of_earlier_checks_are_removed_and_nothing_else(
    ask: Any, kubernetes_server: KubernetesDouble
) -> None:
    usual(kubernetes_server)
    over = {"conditions": [{"type": "Complete", "status": "True"}]}
    for name, label, status, made in (
        ("over", True, over, "2099-01-01T00:00:00Z"),
        ("late", True, {}, "2020-01-01T00:00:00Z"),
        ("at-work", True, {}, "2099-01-01T00:00:00Z"),
        ("another", False, over, "2020-01-01T00:00:00Z"),
    ):
        old = named("batch/v1", "Job", name, status=status, spec={"activeDeadlineSeconds": 60})
        old["metadata"] |= {"creationTimestamp": made, "labels": {job.LABEL: name} if label else {}}
        kubernetes_server.add(old)
    kubernetes_server.on_create = in_state(waiting("ErrImagePull", "no"))
    ask()
    assert {each["metadata"]["name"] for each in kubernetes_server.of("Job", "batch")} == {"at-work", "another"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_interrupted_leaves_no_job(
    number: signal.Signals, kfp_server: StandIn, kubernetes_server: KubernetesDouble, tmp_path: Path
) -> None:
    usual(kubernetes_server)
    kubernetes_server.on_create = in_state(waiting("ErrImagePull", "no"))
    command = [sys.executable, "-m", "sightline", "cluster", "check"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "SIGHTLINE_IMAGES": IMAGES},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not kubernetes_server.of("Job", "batch"):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert kubernetes_server.of("Job", "batch") == []


def test_clocks_that_differ_are_said_before_the_store_refuses(private: None, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    for behind, level in ((0.0, "ok"), (120.0, "warning"), (-600.0, "problem")):
        monkeypatch.setattr(time, "time", lambda behind=behind: real() - behind)
        found = {each.check: each for each in probe.store()}
        assert found["clock"].level == level, found["clock"]
        assert found["store"].level == "ok"
