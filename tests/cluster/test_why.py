"""Why a run ended or waits, for each end that one node can make: the sentence that must come out.

The runs are small pipelines of one task, and go on side by side. They work in the namespace as the manifests leave it:
under Pod Security `restricted`, with a LimitRange, and a quota that allows no GPU.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kfp
import pytest

from sightline import cluster as kubernetes
from sightline import why
from sightline.documents.cause import Cause
from sightline.orchestrate.follow import OVER
from tests.helpers import ends
from tests.helpers.cluster import Cluster, wait
from tests.helpers.cluster_ends import KINDS, Small, preempting, runtime_policy

PIECE = "sightline.ml/why"  # an extended resource, of which the node has one


@pytest.fixture(scope="module")
def small(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Small]]:
    """Starts small pipelines; those that still go on are terminated in the end."""
    image = next((name for name in cluster.at.images.split(",") if "train" in name), cluster.at.images.split(",")[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of old servers, whichever it meets
        client = kfp.Client(host=os.environ["KFP_ENDPOINT"])
    started: list[Small] = []

    def start(name: str, command: str = ends.SLEEP, *changes: ends.Change, **options: Any) -> Small:
        path = ends.write(tmp_path_factory.mktemp("small"), image, command, *changes, **options)
        run = client.create_run_from_pipeline_package(
            str(path),
            run_name=name,
            experiment_name=cluster.at.experiment,
            enable_caching=False,
            service_account="sightline",
        )
        started.append(Small(cluster, name, run.run_id))
        return started[-1]

    yield start
    for run in started:
        if not run.over:
            cluster.server.terminate(run.run_id)


@pytest.fixture(scope="module")
def rules(cluster: Cluster) -> Iterator[None]:
    """A LimitRange that refuses what nobody else asks for, a resource of the node, and a runtime that it lacks."""
    limits = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "sightline-tests-why"},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "60Gi"}, "default": {"memory": "2Gi"},
                             "defaultRequest": {"memory": "32Mi"}}]},
    }  # fmt: skip
    (node, *_) = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    name = node["metadata"]["name"]
    installed = [limits, *runtime_policy(cluster), *preempting(cluster, PIECE)]
    cluster.apply(installed[:-1])
    amount(cluster, name, "add", PIECE)
    yield
    amount(cluster, name, "remove", PIECE)
    cluster.remove(installed)


def amount(cluster: Cluster, node: str, what: str, resource: str) -> None:
    patch = [{"op": what, "path": f"/status/capacity/{resource.replace('/', '~1')}", "value": "1"}]
    cluster.kubectl("patch", "node", node, "--subresource=status", "--type=json", "-p", json.dumps(patch))


@pytest.fixture(scope="module")
def runs(cluster: Cluster, rules: None, small: Callable[..., Small]) -> SimpleNamespace:
    """The runs; to some of them something happens once they are at work."""
    made = SimpleNamespace(
        deleted=small("deleted"),
        forced=small("forced"),
        drained=small("drained"),
        terminated=small("terminated"),
        preempted=small("preempted", ends.SLEEP, ends.gpus(1, PIECE)),
        memory=small("memory", ends.GROW, ends.memory("100Mi")),
        shared=small("shared", ends.MAP, ends.volume("/dev/shm", "10Mi", name="shm", medium="Memory")),
        disk=small("disk", ends.FILL, ends.volume("/tmp", "10Mi")),
        failed=small("failed", "echo 'error: The store is not there.' >&2; exit 3"),
        timeout=small("timeout", ends.SLEEP, ends.timeout(20)),
        deadline=small("deadline", ends.SLEEP, ends.selector("pool", "gpu"), deadline=180),
        broken=small("broken", broken=True),
        root=small("root", as_root=True),
        limit=small("limit", ends.SLEEP, ends.memory("64Gi")),
        quota=small("quota", ends.SLEEP, ends.gpus(1)),
        selector=small("selector", ends.SLEEP, ends.selector("pool", "gpu")),
        big=small("big", ends.SLEEP, ends.gpus(3, PIECE)),
        secret=small("secret", ends.SLEEP, ends.secret("sightline-none", "TOKEN")),
        key=small("key", ends.SLEEP, ends.config_map("kfp-launcher", "NOKEY")),
        image=small("image", of="registry.invalid/sightline-train:gone"),
        late=small("late", ends.SLEEP, ends.timeout(60), of="registry.invalid/sightline-train:gone"),
        runtime=small("runtime", ends.SLEEP, ends.label("sightline.ml/why-runtime", "sightline-why")),
    )
    for run in (made.deleted, made.forced, made.drained, made.terminated, made.preempted):
        run.wait_for_work()
    cluster.kubectl("delete", "pod", made.deleted.pod, "--wait=false")
    cluster.kubectl("delete", "pod", made.forced.pod, "--force", "--grace-period=0", "--wait=false")
    cluster.server.terminate(made.terminated.run_id)
    cluster.apply(preempting(cluster, PIECE)[-1:])
    made.drained.drain()
    return made


LOST = "train was ended from outside: its pod was deleted, or its node drained."
SENTENCES = {
    "memory": ("memory", "train ran out of memory: its container main was killed at its memory limit of 100Mi."),
    "shared": ("shared_memory", "train ran out of shared memory: /dev/shm, of 10Mi, was full."),
    "disk": ("disk", "train filled its disk: its volume tmp went over its limit of 10Mi."),
    "failed": ("stage", "train failed: The store is not there."),
    "timeout": ("timeout", "train ran into its time limit of 20 s."),
    "terminated": ("terminated", "The run was terminated by a person while train was at work."),
    "deleted": ("deleted", LOST),
    "forced": ("deleted", LOST),
    "drained": ("deleted", LOST),
    "preempted": ("preempted", r"train was preempted: a pod of higher priority took its place on the node \S+\."),
    "broken": ("driver", r"The driver of train failed: .*does not have input parameter pipelinechannel--gpus\."),
    "root": ("admission", r"train could not start: Pod Security restricted:\S+ refuses its pod: runAsNonRoot .*"),
    "limit": (
        "admission",
        "train could not start: the namespace's LimitRange allows a container at most 60Gi of memory, and it asks for "
        "64Gi.",
    ),
    "quota": (
        "quota",
        r"train is waiting: the quota sightline of its namespace allows 0 requests\.nvidia\.com/gpu, of which \d+ "
        r"are in use, and it asks for 1\.",
    ),
    "selector": ("unschedulable", r"train is waiting: 0 of \d+ nodes take its pod: \d+ lacks? the label pool=gpu.*"),
    "big": ("unschedulable", rf"train is waiting: 0 of \d+ nodes have 3 free {PIECE}.*"),
    "secret": ("missing", "train is waiting: there is no Secret sightline-none."),
    "key": ("missing", "train is waiting: the ConfigMap kfp-launcher has no key NOKEY."),
    "image": (
        "image",
        r"train is waiting: its image registry\.invalid/sightline-train:gone cannot be fetched: no such registry is .*",
    ),
    "late": (
        "image",
        "train never started, and its time limit of 1 min ended it: its image registry.invalid/sightline-train:gone "
        "cannot be fetched.*",
    ),
    "deadline": (
        "unschedulable",
        "The run's deadline of 3 min passed while train was waiting: 0 of .* the label pool=gpu.*",
    ),
    "runtime": ("runtime", r"train is waiting: the node \S+ has no runtime sightline-none, which the RuntimeClass .*"),
}  # fmt: skip


def test_every_kind_that_one_node_can_make_is_here() -> None:
    assert {kind for kind, _ in SENTENCES.values()} == KINDS


@pytest.mark.parametrize("name", SENTENCES)
def test_each_end_has_its_sentence(runs: SimpleNamespace, name: str) -> None:
    kind, sentence = SENTENCES[name]
    cause = getattr(runs, name).cause_like(kind, sentence)
    assert cause.evidence
    assert cause.do
    assert cause.ended == (" is waiting: " not in cause.sentence) or name in ("forced", "deleted", "drained")


def test_with_the_rights_of_a_user_of_kfp_alone_most_are_the_same(runs: SimpleNamespace, cluster: Cluster) -> None:
    for name in ("memory", "shared", "disk", "quota", "selector", "secret", "key", "image", "broken", "root", "limit"):
        run = getattr(runs, name)
        cause = why.cause(why.look(run.run_id, server=cluster.server))
        assert cause, name
        kind, sentence = SENTENCES[name]
        assert (cause.kind, bool(re.fullmatch(sentence, cause.sentence))) == (kind, True), cause.sentence


def test_a_quota_that_is_raised_leaves_the_next_hindrance(runs: SimpleNamespace, cluster: Cluster) -> None:
    for gpus in ("1", "0"):
        patch = {"spec": {"hard": {"requests.nvidia.com/gpu": gpus}}}
        cluster.kubectl("patch", "resourcequota", "sightline", "-p", json.dumps(patch))
        if gpus == "1":
            runs.quota.cause_like("unschedulable", r"train is waiting: 0 of \d+ nodes have a free nvidia\.com/gpu.*")


def test_the_account_of_a_run_sees_as_much_with_its_component(runs: SimpleNamespace, cluster: Cluster) -> None:
    """What `conclude` may do: the Role of the base, and with the component `run-events` events too."""
    may = ["auth", "can-i", "--as", f"system:serviceaccount:{cluster.at.namespace}:sightline"]
    assert cluster.kubectl(*may, "get", "pods").strip() == "yes"
    component = list(ends.objects(Path("manifests/components/run-events/role.yaml")))
    for each in component:
        for subject in each.get("subjects", []):
            subject["namespace"] = cluster.at.namespace
    cluster.apply(component)
    try:
        assert cluster.kubectl(*may, "list", "events").strip() == "yes"
        assert cluster.kubectl(*may, "list", "pods").strip() == "yes"
    finally:
        cluster.remove(component)


def test_the_command_says_it_for_people_and_waiting_says_it_as_it_happens(
    runs: SimpleNamespace, cluster: Cluster
) -> None:
    done = cluster.sightline("why", "memory", SIGHTLINE_STORE="")
    assert done.returncode == 0, done.stderr
    assert f"run        memory ({runs.memory.run_id})" in done.stdout
    assert f"cause      {SENTENCES['memory'][1]}" in done.stdout
    assert "do         Set train_memory in the form to 200Mi (it was 100Mi)" in done.stdout
    done = cluster.sightline("submit", "--follow", runs.selector.run_id, "--pending", "1s", SIGHTLINE_STORE="")
    assert done.returncode == 1
    assert re.search(
        r"^train is waiting: 0 of \d+ nodes take its pod: .* the label pool=gpu", done.stdout, re.MULTILINE
    )
    assert "so `sightline submit --pending` ended the run: 0 of" in done.stdout


def test_a_taint_that_train_does_not_tolerate_is_named(cluster: Cluster, small: Callable[..., Small]) -> None:
    """Train's driver does not tolerate it either, and comes first: train waits for a label until the taint is there.

    A taint of the effect NoExecute would end all else on the node.
    """
    label, key = "sightline.ml/why-taint", "sightline.ml/why"
    (node, *_) = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    name = node["metadata"]["name"]
    run = small("taint", ends.SLEEP, ends.selector(label, "here"))

    def told_without_rights() -> bool:
        """Argo notes what the scheduler says some seconds later."""
        found = why.cause(why.look(run.run_id, server=cluster.server))
        words = r"train is waiting: 0 of \d+ nodes .* taint.*, which it does not tolerate.*"
        return bool(found and re.fullmatch(words, found.sentence))

    run.cause_like("unschedulable", rf"train is waiting: 0 of \d+ nodes take its pod: .*the label {label}=here.*")
    cluster.kubectl("taint", "node", name, f"{key}=here:NoSchedule", "--overwrite")
    try:
        cluster.kubectl("label", "node", name, f"{label}=here", "--overwrite")
        try:
            cause = run.cause_like(
                "unschedulable",
                rf"train is waiting: 0 of \d+ nodes take its pod: .*(has|have) the taint .*{key}(=|: )here.*, which it "
                r"does not tolerate.*",
            )
            wait(told_without_rights, "the taint is named by the workflow too", seconds=120)
        finally:
            cluster.kubectl("label", "node", name, f"{label}-")
    finally:
        cluster.kubectl("taint", "node", name, f"{key}-")
    assert "train_tolerations" in cause.do
    assert not cause.ended


@pytest.mark.skipif("SIGHTLINE_TEST_CLUSTER_KUBELET" not in os.environ, reason="no command that restarts the kubelet")
def test_a_restart_of_the_kubelet_ends_nothing(cluster: Cluster, small: Callable[..., Small]) -> None:
    run = small("kubelet")
    run.wait_for_work()
    subprocess.run(["sh", "-c", os.environ["SIGHTLINE_TEST_CLUSTER_KUBELET"]], check=True)
    wait(lambda: "True" in cluster.kubectl("get", "nodes", "-o", 'jsonpath={..conditions[?(@.type=="Ready")].status}'),
         "a node that is ready")  # fmt: skip
    seen = why.look(run.run_id, server=cluster.server, kubernetes=kubernetes.reach())
    assert why.cause(seen) is None
    assert why.standing(seen).startswith("It goes on: train runs for ")
    assert cluster.server.run(run.run_id).state not in OVER


def test_nothing_is_said_of_a_run_that_is_well(runs: SimpleNamespace, small: Callable[..., Small]) -> None:
    run = small("good", "true")
    run.wait_until_over()
    assert run.cause() is None
    cause: Cause | None = runs.memory.cause()
    assert cause
    assert not cause.again
