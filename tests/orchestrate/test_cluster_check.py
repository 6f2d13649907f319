"""What a cluster check says of a cluster from outside: each thing that stands in a run's way, by name."""

from __future__ import annotations

import copy
import functools
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import kfp_server_api as kfp
import pytest
import yaml

from pipelines.compile import compiled
from pipelines.options import Options
from sightline.cluster.account import RANKS, RIGHTS, Right
from sightline.cluster.findings import Finding, ok, problem
from sightline.cluster.questions import Questions
from sightline.orchestrate import cluster_check, versions
from tests.helpers.compiled import nodes as argo_nodes
from tests.helpers.kfp_stand_in import StandIn
from tests.helpers.kubernetes_double import KubernetesDouble
from tests.helpers.kubernetes_objects import GPU, limit_range, named, node, pod, quota, usual

ROOT = Path(__file__).parents[2]
Check = Callable[..., cluster_check.Checked]
TAINT = {"key": GPU, "value": "present", "effect": "NoSchedule"}
GPUS = {"train_gpus": "1", "train_cpu": "4", "train_memory": "16Gi"}


@functools.cache
def package(options: Options | None = None) -> versions.Package:
    """The pipeline of today, or compiled with options, with images for which no registry answers."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as environment:
        images = ",".join(f"127.0.0.1:1/sightline-{name}:1" for name in ("data", "train", "infer"))
        environment.setenv("SIGHTLINE_IMAGES", images)
        file = Path(folder) / "pipeline.yaml"
        file.write_text(compiled(options or Options()))
        return versions.package(file)


@pytest.fixture
def check(kfp_server: StandIn, kubernetes_server: KubernetesDouble) -> Check:
    """Checks the cluster of both doubles from outside, for the pipeline of today and parameters of the form."""

    def checked(sent: versions.Package | None = None, *, namespace: str | None = None, **values: str) -> Any:
        return cluster_check.check(
            sent or package(),
            values,
            namespace=namespace,
            experiment=None,
            service_account=None,
            wait=None,
            tell=lambda words: None,
        )

    return checked


def said(checked: cluster_check.Checked, name: str) -> list[tuple[str, str]]:
    """Level and words of every finding of a check."""
    return [(each.level, each.words) for each in checked.findings if each.check == name]


def only(checked: cluster_check.Checked, name: str) -> tuple[str, str]:
    (found,) = said(checked, name)
    return found


def problems(checked: cluster_check.Checked) -> list[str]:
    return [each.check for each in checked.findings if each.level == "problem"]


def test_a_cluster_that_can_do_the_run_has_no_problem(
    check: Check, kfp_server: StandIn, kubernetes_server: KubernetesDouble
) -> None:
    usual(kubernetes_server)
    found = check(data="s3://bucket/cells")
    assert found.exit_code == 0
    assert {each.check for each in found.findings if each.level == "warning"} == {"form"}  # it would train on a CPU
    assert only(found, "kfp") == ("ok", f"Kubeflow Pipelines 2.17.0 answers at {kfp_server.address}")
    assert only(found, "experiment") == ("ok", "sightline will be made with the first run")
    assert only(found, "retries")[0] == "unknown"
    assert only(found, "pod security") == ("ok", "the namespace enforces the level restricted")
    assert said(found, "nodes")[0][0] == "ok"
    assert only(found, "settings") == ("ok", "ConfigMap sightline: SIGHTLINE_STORE, MLFLOW_TRACKING_URI")
    assert {level for level, _ in said(found, "images")} == {"unknown"}


def test_the_retry_patch_is_read_from_the_newest_run(
    check: Check, kfp_server: StandIn, kubernetes_server: KubernetesDouble
) -> None:
    usual(kubernetes_server)
    start_run(kfp_server)
    for strategy, level in (({"limit": "0", "retryPolicy": "Always"}, "ok"), ({"retryPolicy": "OnError"}, "warning")):
        kfp_server.spec = {"templateDefaults": {"retryStrategy": strategy}}
        assert only(check(), "retries")[0] == level


def start_run(server: StandIn) -> None:
    """Let the stand-in have a run."""
    server.runs["earlier"] = kfp.V2beta1Run(run_id="earlier", display_name="earlier", state=server.script[0][0])
    server.frames["earlier"] = list(server.script)
    server.spec = {"entrypoint": "entrypoint"}


# --- nodes


@pytest.mark.parametrize(
    ("nodes", "values", "level", "words"),
    [
        pytest.param(
            [node("gpu-1", gpus=1, taints=[{"key": "team", "value": "b", "effect": "NoSchedule"}])],
            GPUS,
            "problem",
            "train: 0 of 1 nodes could take it: 1 with the taint team=b:NoSchedule, which it does not tolerate",
            id="taint",
        ),
        pytest.param(
            [node("gpu-1", gpus=1), node("gpu-2", gpus=1, labels={"gpu": "t4"})],
            {**GPUS, "train_node_selector": '{"gpu": "a100"}'},
            "problem",
            "train: 0 of 2 nodes could take it: 2 without the label gpu=a100",
            id="selector",
        ),
        pytest.param(
            [node("node-1"), node("node-2")],
            GPUS,
            "problem",
            "0 of 2 nodes could take it: 2 without any nvidia.com/gpu",
            id="no GPU anywhere",
        ),
        pytest.param(
            [node("small", cpu="2", memory="4Gi", gpus=1), node("other", cpu="3", memory="3Gi", gpus=1)],
            GPUS,
            "problem",
            "2 with 3 of cpu at most; 2 with 4Gi of memory at most. It asks for 4 of cpu (train_cpu), "
            "16Gi of memory (train_memory), 1 of nvidia.com/gpu (train_gpus)",
            id="too small, every reason at once",
        ),
        pytest.param(
            [node("gpu-1", gpus=2, taints=[TAINT]), node()],
            {**GPUS, "train_gpus": "2"},
            "ok",
            "train: 1 of 2 nodes could take it, 1 now (gpu-1)",
            id="NVIDIA's own taint is borne",
        ),
        pytest.param(
            [node("gpu-1", gpus=1, unschedulable=True)],
            GPUS,
            "warning",
            "none has room now, so it would wait",
            id="cordoned",
        ),
    ],
)
def test_what_keeps_train_off_nodes_is_named(
    nodes: list[Any], values: dict[str, str], level: str, words: str, check: Check, kubernetes_server: KubernetesDouble
) -> None:
    usual(kubernetes_server, *nodes)
    found = check(**values)
    (told,) = [each for each in said(found, "nodes") if "train" in each[1]]
    assert told[0] == level
    assert words in told[1]
    assert found.exit_code == (2 if level == "problem" else 0)


def test_gpus_that_others_use_are_a_warning_with_their_pods(check: Check, kubernetes_server: KubernetesDouble) -> None:
    usual(kubernetes_server, node("gpu-1", gpus=2))
    kubernetes_server.add(pod("notebook-0", "gpu-1", nvidia="2"), pod("over", "gpu-1", phase="Succeeded", nvidia="1"))
    found = check(**GPUS)
    (level, words) = next(each for each in said(found, "nodes") if "train" in each[1])
    assert level == "warning"
    assert "gpu-1 has 0 of 2 nvidia.com/gpu free, used by team-a/notebook-0" in words
    assert "over" not in words
    assert found.exit_code == 0


def test_a_pool_that_grows_from_zero_is_a_warning_if_its_taints_are_borne(
    check: Check, kubernetes_server: KubernetesDouble
) -> None:
    usual(kubernetes_server)
    kubernetes_server.unknown.clear()
    pool = named("karpenter.sh/v1", "NodePool", "gpus", namespace=None)
    pool["spec"] = {"template": {"spec": {"taints": [TAINT]}}}
    kubernetes_server.add(pool)
    level, words = next(each for each in said(check(**GPUS), "nodes") if "train" in each[1])
    assert (level, "(NodePool gpus)" in words) == ("warning", True)
    pool["spec"]["template"]["spec"]["taints"] = [{"key": "team", "effect": "NoSchedule"}]
    kubernetes_server.add(pool)
    level, words = next(each for each in said(check(**GPUS), "nodes") if "train" in each[1])
    assert (level, "gpus team:NoSchedule" in words) == ("problem", True)
    kubernetes_server.forbidden = {"get configmaps"}  # where the cluster autoscaler says that it is there
    level, words = next(each for each in said(check(**GPUS), "nodes") if "train" in each[1])
    assert (level, "gpus team:NoSchedule" in words) == ("unknown", True)
    assert "Whether the cluster adds nodes by itself is not known: you may not get configmaps" in words
    kubernetes_server.forbidden.clear()
    kubernetes_server.add(named("v1", "ConfigMap", "cluster-autoscaler-status", namespace="kube-system", data={}))
    level, words = next(each for each in said(check(**GPUS), "nodes") if "train" in each[1])
    assert (level, "(the cluster autoscaler)" in words) == ("warning", True)


def test_init_containers_and_sidecars_count_as_the_scheduler_counts_them(
    check: Check, kubernetes_server: KubernetesDouble
) -> None:
    usual(kubernetes_server, node("node-1", cpu="4"))
    other = pod("other", "node-1", cpu="1")
    other["spec"]["initContainers"] = [
        {"name": "first", "resources": {"requests": {"cpu": "2500m"}}},
        {"name": "beside", "restartPolicy": "Always", "resources": {"requests": {"cpu": "500m"}}},
    ]
    kubernetes_server.add(other)
    (level, words) = next(each for each in said(check(train_cpu="2"), "nodes") if "train" in each[1])
    assert (level, "node-1 has 1.5 of 4 cpu free" in words) == ("warning", True)


# --- limits and quotas


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (
            {"max": {"memory": "8Gi"}, "default": {"memory": "4Gi"}},
            "train: 16Gi of memory (train_memory) are more than the maximum 8Gi for a container of the LimitRange",
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "4"}},
            "validate: its limit of cpu, 4, is 8 times its request 500m, more than the ratio 4 of the LimitRange",
        ),
        (
            {"min": {"cpu": "250m"}},
            "gate: 200m of cpu are less than the minimum 250m for a container of the LimitRange",
        ),
    ],
)
def test_a_limit_range_that_refuses_a_task_is_named(
    rules: dict[str, Any], words: str, check: Check, kubernetes_server: KubernetesDouble
) -> None:
    usual(kubernetes_server, node(gpus=1))
    kubernetes_server.add(limit_range(**rules))
    found = check(**GPUS)
    assert problems(found).count("limits") == len(said(found, "limits")) > 0
    assert any(words in told for _, told in said(found, "limits"))


def test_a_limit_range_adds_to_what_a_pod_asks_of_a_node(check: Check, kubernetes_server: KubernetesDouble) -> None:
    usual(kubernetes_server)
    kubernetes_server.add(
        limit_range(default={"ephemeral-storage": "150Gi"}, defaultRequest={"ephemeral-storage": "150Gi"})
    )
    level, words = next(each for each in said(check(), "nodes") if "train" in each[1])
    assert level == "problem"  # twice: for the task's container and Argo's
    assert "1 with 200Gi of ephemeral-storage at most. " in words
    assert "300Gi of ephemeral-storage" in words


def test_disk_that_a_limit_range_takes_away_is_a_warning(check: Check, kubernetes_server: KubernetesDouble) -> None:
    usual(kubernetes_server)
    kubernetes_server.add(
        limit_range(default={"ephemeral-storage": "2Gi"}, defaultRequest={"ephemeral-storage": "1Gi"})
    )
    assert ("warning", "validate: its /tmp may hold 20Gi, and a LimitRange ends a pod that fills 4Gi of "
            "ephemeral-storage") in said(check(), "limits")  # fmt: skip


@pytest.mark.parametrize(
    ("hard", "used", "level", "words"),
    [
        ({f"requests.{GPU}": "0"}, {}, "problem", "are more than the 0 of the ResourceQuota quota"),
        (
            {f"requests.{GPU}": "4"},
            {f"requests.{GPU}": "4"},
            "warning",
            "train: 1 of requests.nvidia.com/gpu (train_gpus), and 0 of 4 are left in the ResourceQuota quota",
        ),
        (
            {"requests.memory": "8Gi"},
            {},
            "problem",
            "16Gi of requests.memory (train_memory) are more than the 8Gi",
        ),
        ({"pods": "10"}, {"pods": "9"}, "ok", "the ResourceQuota quota has room"),
    ],
)
def test_a_quota_that_refuses_a_task_is_named(
    hard: dict[str, str],
    used: dict[str, str],
    level: str,
    words: str,
    check: Check,
    kubernetes_server: KubernetesDouble,
) -> None:
    usual(kubernetes_server, node(gpus=4))
    kubernetes_server.add(limit_range(default={"memory": "64Mi", "cpu": "100m"}), quota(hard=hard, used=used))
    found = check(**GPUS)
    assert only(found, "quota")[0] == level
    assert words in only(found, "quota")[1]


def test_a_quota_of_other_pods_does_not_count(check: Check, kubernetes_server: KubernetesDouble) -> None:
    usual(kubernetes_server)
    kubernetes_server.add(
        quota("services", hard={"pods": "0"}, scopes=["NotTerminating"]),
        quota("urgent", hard={"pods": "0"}, scopeSelector={"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}),
    )  # fmt: skip
    assert only(check(), "quota") == ("ok", "no ResourceQuota")


def test_a_quota_that_counts_what_argo_does_not_say_lets_nothing_in(
    check: Check, kubernetes_server: KubernetesDouble
) -> None:
    usual(kubernetes_server)
    kubernetes_server.add(quota(hard={"limits.cpu": "100"}))
    assert only(check(), "quota")[0] == "warning"  # how Argo is set up is seen at the first run
    earlier = named("v1", "Pod", "earlier", spec={"containers": [{"name": "wait"}]}, status={"phase": "Succeeded"})
    earlier["metadata"]["labels"] = {"workflows.argoproj.io/workflow": "x"}
    kubernetes_server.add(earlier)
    level, words = only(check(), "quota")
    assert (level, "counts limits.cpu, which a container in the pod" in words) == ("problem", True)
    kubernetes_server.add(limit_range(default={"cpu": "1"}))
    assert only(check(), "quota")[0] == "ok"


# --- the namespace


def test_a_runtime_class_that_the_policy_names_has_to_be_there(
    check: Check, kubernetes_server: KubernetesDouble
) -> None:
    usual(kubernetes_server, node(gpus=1))
    assert "runtime" not in {each.check for each in check().findings}
    assert only(check(**GPUS), "runtime")[0] == "ok"
    runtime = named("node.k8s.io/v1", "RuntimeClass", "nvidia", namespace=None)
    for kind in ("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"):
        api = "admissionregistration.k8s.io/v1beta1"
        kubernetes_server.add(named(api, kind, "sightline-gpu-runtime", namespace=None))
    level, words = only(check(**GPUS), "runtime")
    assert (level, "gives tasks with GPUs the RuntimeClass nvidia, and there is none" in words) == ("problem", True)
    kubernetes_server.add(runtime)
    assert only(check(**GPUS), "runtime")[0] == "ok"
    kubernetes_server.objects[("admissionregistration.k8s.io", "mutatingadmissionpolicybindings")].clear()
    assert only(check(**GPUS), "runtime")[0] == "warning"


@pytest.mark.parametrize(
    ("claim", "classes", "level", "words"),
    [
        (None, {}, "problem", "there is no claim cache in kubeflow"),
        (("Bound", "ReadWriteMany"), {}, "ok", "every node can write it"),
        (("Bound", "ReadWriteOnce"), {}, "warning", "cache is ReadWriteOnce"),
        (("Bound", "ReadWriteOncePod"), {}, "problem", "(ReadWriteMany)"),
        (("Pending", "ReadWriteMany"), {}, "problem", "cache is Pending: there is no storage class nfs"),
        (("Pending", "ReadWriteMany"), {"nfs": "Immediate"}, "problem", "nfs has made no volume for it"),
        (("Pending", "ReadWriteMany"), {"nfs": "WaitForFirstConsumer"}, "warning", "the first pod that mounts it"),
        (("Lost", "ReadWriteMany"), {}, "problem", "the volume behind it is gone"),
    ],
)
def test_a_claim_for_the_cache_has_to_be_there_for_every_node(
    claim: tuple[str, str] | None,
    classes: dict[str, str],
    level: str,
    words: str,
    check: Check,
    kubernetes_server: KubernetesDouble,
) -> None:
    usual(kubernetes_server)
    if claim:
        spec = {"accessModes": [claim[1]], "storageClassName": "nfs"}
        kubernetes_server.add(named("v1", "PersistentVolumeClaim", "cache", spec=spec, status={"phase": claim[0]}))
    for name, mode in classes.items():
        kubernetes_server.add(named("storage.k8s.io/v1", "StorageClass", name, namespace=None, volumeBindingMode=mode))
    found = only(check(package(Options(cache_claim="cache"))), "claim")
    assert found[0] == level
    assert words in found[1]


def test_a_claim_whose_storage_class_may_not_be_seen_is_unknown(
    check: Check, kubernetes_server: KubernetesDouble
) -> None:
    usual(kubernetes_server)
    spec = {"accessModes": ["ReadWriteMany"], "storageClassName": "nfs"}
    kubernetes_server.add(named("v1", "PersistentVolumeClaim", "cache", spec=spec, status={"phase": "Pending"}))
    kubernetes_server.forbidden = {"get storageclasses"}
    level, words = only(check(package(Options(cache_claim="cache"))), "claim")
    assert (level, "nfs was not looked at: you may not get storageclasses" in words) == ("unknown", True)


def test_tasks_that_may_run_as_root_are_refused_by_the_level_restricted(
    check: Check, kubernetes_server: KubernetesDouble
) -> None:
    usual(kubernetes_server)
    pipeline, platform = copy.deepcopy(package().documents)
    del platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-gate"]["securityContext"]
    level, words = only(check(replace(package(), documents=(pipeline, platform))), "pod security")
    assert (level, "restricted, and gate may run as root" in words) == ("problem", True)


def test_a_namespace_that_is_missing_or_ends_is_a_problem(
    check: Check, kfp_server: StandIn, kubernetes_server: KubernetesDouble
) -> None:
    kfp_server.multi_user = True
    usual(kubernetes_server)
    level, words = only(check(namespace="team-a"), "namespace")
    assert (level, words) == ("problem", "there is no namespace team-a")
    ending = named("v1", "Namespace", "team-a", namespace=None, status={"phase": "Terminating"})
    kubernetes_server.add(ending)
    assert only(check(namespace="team-a"), "namespace")[0] == "problem"


def test_what_the_account_lacks_is_named(check: Check, kubernetes_server: KubernetesDouble) -> None:
    usual(kubernetes_server)
    asked = []

    def rights(user: str, attributes: dict[str, str]) -> bool:
        asked.append((user, attributes["namespace"]))
        return attributes["resource"] not in ("workflowtaskresults", "secrets")

    kubernetes_server.rights = rights
    found = said(check(), "rights")
    assert set(asked) == {("ci", "kubeflow"), ("system:serviceaccount:kubeflow:pipeline-runner", "kubeflow")}
    assert [level for level, _ in found] == ["problem", "warning"]
    assert "may not create workflowtaskresults, patch workflowtaskresults" in found[0][1]
    assert "may not get secrets mlpipeline-minio-artifact" in found[1][1]
    kubernetes_server.objects[("", "serviceaccounts")].clear()
    assert only(check(), "account")[0] == "problem"


@pytest.mark.parametrize(
    ("file", "rights"), [("base/account.yaml", RIGHTS), ("components/several-nodes/role.yaml", RANKS)]
)
def test_rights_are_those_that_the_manifests_give(file: str, rights: tuple[Right, ...]) -> None:
    objects = yaml.safe_load_all((ROOT / "manifests" / file).read_text())
    role = next(each for each in objects if each["kind"] == "Role")
    given = {
        (verb, plural, group, name)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for plural in rule["resources"]
        for group in rule["apiGroups"]
        for name in rule.get("resourceNames", [""])
    }
    assert given == {tuple(right) for right in rights}


def test_a_training_on_several_nodes_needs_room_and_rights_for_all_of_them(
    check: Check, kubernetes_server: KubernetesDouble
) -> None:
    usual(kubernetes_server, node("gpu-1", gpus=1), node("gpu-2", gpus=1))
    three = {**GPUS, "train_nodes": "3", "train_batch": "12"}
    kubernetes_server.rights = lambda user, attributes: attributes["resource"] != "jobs"
    assert only(check(**GPUS), "rights")[0] == "ok"
    found = check(**three)
    assert "may not create jobs, get jobs, list jobs, delete jobs, so that a training" in only(found, "rights")[1]
    level, words = said(found, "nodes")[0]
    assert (level, "2 of 2 nodes could take it: they hold 2 of 3 such pods" in words) == ("problem", True)
    kubernetes_server.add(node("gpu-3", gpus=2))
    assert said(check(**three), "nodes")[0][0] == "ok"
    kubernetes_server.add(pod("notebook-0", "gpu-2", nvidia="1"), pod("notebook-1", "gpu-3", nvidia="1"))
    level, words = said(check(**three), "nodes")[0]
    assert (level, "2 of 3 such pods fit now" in words) == ("warning", True)


def test_settings_without_which_validate_refuses_a_run_are_problems(
    check: Check, kubernetes_server: KubernetesDouble
) -> None:
    usual(kubernetes_server)
    kubernetes_server.add(named("v1", "ConfigMap", "sightline", data={"AWS_REGION": "x", "SIGHTLINE_TRACKING": "off"}))
    found = said(check(), "settings")
    assert [level for level, _ in found] == ["ok", "problem"]
    assert found[1][1].startswith("SIGHTLINE_STORE is not set")
    kubernetes_server.objects[("", "configmaps")].clear()
    assert "the ConfigMap sightline is not there" in said(check(), "settings")[0][1]


# --- what cannot be asked


def test_a_missing_right_is_said_and_nothing_is_guessed(check: Check, kubernetes_server: KubernetesDouble) -> None:
    usual(kubernetes_server)
    kubernetes_server.forbidden = {"list nodes", "list resourcequotas", "create localsubjectaccessreviews"}
    found = check(**GPUS)
    assert only(found, "nodes") == ("unknown", "not checked: you may not list nodes")
    assert only(found, "quota") == ("unknown", "not checked: you may not list resourcequotas in kubeflow")
    assert found.exit_code == 0
    kubernetes_server.forbidden = {"list pods", "get namespaces"}
    told = [words for level, words in said(check(), "nodes") if level == "unknown"]
    assert all("whether one has room now was not checked: you may not list pods" in words for words in told)
    assert told
    assert only(check(), "pod security")[0] == "unknown"
    kubernetes_server.forbidden = {"list nodepools", "get configmaps"}
    kubernetes_server.unknown.clear()
    level, words = next(each for each in said(check(**GPUS), "nodes") if "train" in each[1])
    assert level == "unknown"
    assert (
        "Whether the cluster adds nodes by itself is not known: you may not list nodepools and you may not get" in words
    )


def test_kfp_that_is_down_is_a_problem_and_the_rest_is_asked(
    check: Check, kubernetes_server: KubernetesDouble, closed_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual(kubernetes_server)
    monkeypatch.setenv("KFP_ENDPOINT", closed_address)
    found = check()
    assert only(found, "kfp")[0] == "problem"
    assert "cannot be reached" in only(found, "kfp")[1]
    assert (only(found, "namespace")[0], found.exit_code) == ("ok", 2)
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    assert check().exit_code == 1


SELF_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def test_servers_that_take_questions_and_do_not_answer_are_away(
    check: Check, kfp_server: StandIn, kubernetes_server: KubernetesDouble
) -> None:
    usual(kubernetes_server)
    kfp_server.faults["GET /apis/v2beta1/healthz"] = ["hang", "hang"]
    found = check()
    level, words = only(found, "kfp")
    assert (level, "did not answer for 8 seconds" in words) == ("problem", True)
    assert (only(found, "namespace")[0], found.outage, found.exit_code) == ("ok", False, 2)
    kubernetes_server.faults[f"POST {SELF_REVIEW}"] = ["hang"]
    begun = time.monotonic()
    found = check()
    assert (found.outage, found.exit_code) == (True, 1)
    assert only(found, "kubernetes")[0] == "unknown"
    assert time.monotonic() - begun < 14


def test_who_may_not_even_ask_what_he_may_is_told_at_each_question(
    check: Check, kubernetes_server: KubernetesDouble
) -> None:
    usual(kubernetes_server)
    kubernetes_server.forbidden = {"create selfsubjectaccessreviews", "list nodes"}
    found = check()
    assert only(found, "kubernetes")[0] == "ok"
    assert only(found, "nodes") == ("unknown", "not checked: you may not list nodes")
    assert (only(found, "namespace")[0], found.exit_code) == ("ok", 0)


def test_wrong_tokens_are_named(
    check: Check, kfp_server: StandIn, kubernetes_server: KubernetesDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual(kubernetes_server)
    kfp_server.token, kubernetes_server.token = "right", "another"
    monkeypatch.setenv("KFP_TOKEN", "wrong")
    found = check()
    assert "does not accept the token of KFP_TOKEN" in only(found, "kfp")[1]
    assert only(found, "kubernetes")[0] == "problem"
    assert "does not accept your credentials" in only(found, "kubernetes")[1]
    assert found.exit_code == 2


def test_another_cluster_is_not_taken_for_that_of_kfp(
    check: Check, kfp_server: StandIn, kubernetes_server: KubernetesDouble
) -> None:
    kubernetes_server.add(node())
    found = check()
    assert only(found, "kubernetes")[0] == "unknown"
    assert "another cluster than that of Kubeflow Pipelines" in only(found, "kubernetes")[1]
    assert (found.exit_code, said(found, "nodes")) == (0, [])
    usual(kubernetes_server)
    assert only(check(), "kubernetes")[0] == "ok"
    kfp_server.script = [("RUNNING", argo_nodes(validate="Running"))]
    start_run(kfp_server)
    assert "goes on in another cluster" in only(check(), "kubernetes")[1]
    here = named("argoproj.io/v1alpha1", "Workflow", "sightline-train-x7")
    here["metadata"]["uid"] = None
    kubernetes_server.add(here)
    assert only(check(), "kubernetes")[0] == "ok"


def test_a_server_that_hangs_costs_its_own_answer_alone() -> None:
    def hang() -> list[Finding]:
        time.sleep(30)
        return []

    questions = Questions(0.5)
    questions.ask("slow", hang)
    questions.ask("needed", hang, late=problem("needed", "away"))
    questions.ask("quick", lambda: [ok("quick", "here")])
    found = [(each.check, each.level) for each in questions.findings()]
    assert found == [("slow", "unknown"), ("needed", "problem"), ("quick", "ok")]
