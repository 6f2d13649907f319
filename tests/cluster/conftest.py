"""The cluster for a session of tests, under Pod Security `restricted` and the limits of manifests/, and runs on it.

Runs that do not disturb each other go on at the same time. `first` starts those that take long, the quickstart among
them; `second`, beside it, those that end soon; `again` those that come after the quickstart.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.compile import compiled
from pipelines.options import Options
from sightline.errors import SightlineError
from sightline.orchestrate import versions
from tests.helpers import cluster as clusters
from tests.helpers import cluster_place, cluster_records
from tests.helpers.cluster import ROOT, SMALL, Cluster, Run, overrides
from tests.helpers.servers import mlflow_serving

LEVEL = "pod-security.kubernetes.io/enforce"
SERVERS = ("Deployment", "StatefulSet", "Service", "Job")  # of the manifests: these tests bring their own
SHORT = 60  # seconds that a training may take where a test waits for the end of that time
PENDING = "150s"  # also what a busy node may take to start a pod
AT_WORK = " · val mAP50"  # in train's log, after an epoch
PIPELINE = "sightline-train"
OVERLAY = ROOT / "manifests" / "overlays" / "cpu"
RUNS = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """The cluster with what an administrator installs, and nothing yet of settings and Secrets."""
    at = cluster_place.place(os.environ, f"sightline-tests-{secrets.token_hex(3)}")
    if isinstance(at, str):
        pytest.skip(at)
    try:
        found = Cluster(at, tmp_path_factory.mktemp("cluster"))
    except SightlineError as error:
        pytest.skip(f"no cluster to test on: {error} {cluster_place.HOW}")
    if there := found.kubectl("get", "configmap/sightline", "secret/sightline-s3", "--ignore-not-found", "-o", "name"):
        pytest.skip(f"the namespace {at.namespace} is in use: it has {' and '.join(there.split())} {cluster_place.HOW}")
    known = cluster_records.versions(found.server, PIPELINE)
    level = json.loads(found.kubectl("get", "namespace", at.namespace, "-o", "json"))["metadata"]["labels"].get(LEVEL)
    installed = [each for each in found.rendered(OVERLAY) if each["kind"] not in SERVERS]
    found.bucket.make()
    with mlflow_serving(tmp_path_factory.mktemp("mlflow"), to_all=True) as address:
        found.tracking = address
        cluster_records.recorded(found, "")  # the first questions take a new server long
        installed.append(way_to_servers(found))
        found.label_namespace(f"{LEVEL}=restricted")
        found.apply([each for each in installed if each["kind"] != "ConfigMap"])
        try:
            yield found
        finally:
            pytestconfig.stash[RUNS] = list(clusters.rows(found.runs))
            for run in found.runs:
                run.stop_following()
            found.remove([*installed, *secret(found)])
            found.label_namespace(f"{LEVEL}={level}" if level else f"{LEVEL}-")
            if not os.environ.get("SIGHTLINE_TEST_CLUSTER_KEEP"):
                cluster_records.forget(found, PIPELINE, known)


def way_to_servers(cluster: Cluster) -> dict[str, Any]:
    """Let tasks reach the servers of these tests, where network policies are enforced."""
    addresses = (cluster.tracking, cluster.at.s3_of_pods)
    ports = [{"port": int(address.rpartition(":")[2].strip("/")), "protocol": "TCP"} for address in addresses]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "sightline-tests"},
        "spec": {
            "podSelector": {"matchExpressions": [{"key": "sightline.ml/stage", "operator": "Exists"}]},
            "policyTypes": ["Egress"],
            "egress": [{"ports": ports}],
        },
    }


def secret(cluster: Cluster) -> list[dict[str, Any]]:
    """The keys to the store."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    data = {name: cluster.at.s3[name] for name in names}
    return [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "sightline-s3"}, "stringData": data}]


@pytest.fixture(scope="session")
def unconfigured(cluster: Cluster) -> Run:
    """A run that ended before there was a ConfigMap or a Secret."""
    run = cluster.submit("unconfigured")
    assert run.ended
    return run


@pytest.fixture(scope="session")
def ready(cluster: Cluster, unconfigured: Run) -> Cluster:
    """The cluster with settings and Secrets."""
    (settings,) = [each for each in cluster.rendered(OVERLAY) if each["kind"] == "ConfigMap"]
    settings["data"] |= {
        "SIGHTLINE_STORE": cluster.at.store,
        "SIGHTLINE_S3_ENDPOINT": cluster.at.s3_of_pods,
        "MLFLOW_TRACKING_URI": f"http://{cluster.at.host}:{cluster.tracking.rpartition(':')[2]}",
    }
    cluster.apply([settings, *secret(cluster)])
    return cluster


@pytest.fixture(scope="session")
def first(ready: Cluster, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Runs that go on for long, or that something is to happen to."""
    long = overrides(train__epochs=1000)
    return SimpleNamespace(
        misfit=ready.submit(
            "no node fits", pending=PENDING, train_node_selector='{"sightline.ml/tests": "no-node"}', train_seed="1",
            overrides=overrides(train__epochs=1), **SMALL,
        ),
        deleted=ready.submit("pod deleted", overrides=long, train_seed="2", **SMALL),
        terminated=ready.submit("terminated", overrides=long, train_seed="3", **SMALL),
        quickstart=uploaded(ready, tmp_path_factory.mktemp("first")),
    )  # fmt: skip


@pytest.fixture(scope="session")
def struck(first: SimpleNamespace, ready: Cluster) -> None:
    """What happens to two runs in the middle of their training."""
    for run in (first.deleted, first.terminated):
        run.wait_for_work("train", AT_WORK)
    ready.server.terminate(first.terminated.run_id)
    first.deleted.lose_pods("train")


@pytest.fixture(scope="session")
def second(ready: Cluster, struck: None, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Runs that fail by themselves, one by one stage further; a node with two CPUs takes no more at a time."""
    from sightline.datasets.synthetic import draw

    folder = tmp_path_factory.mktemp("second")
    bad = draw(folder / "bad")
    (bad / "labels" / "train" / "smear_train_003.txt").write_text("0 0.5 0.5 0.2\nx 0.5 0.5 0.1 0.1\n")
    ready.bucket.put_folder(bad, f"{ready.at.session}/bad")
    hurried = folder / "hurried.yaml"
    hurried.write_text(compiled(Options(train_timeout=SHORT, train_retries=0)))
    one = overrides(train__epochs=1)
    wild = overrides(train__epochs=2, train__lr0=1, train__optimizer="SGD", train__momentum=0.99)
    return SimpleNamespace(
        imageless=without_an_image(ready, hurried),
        refused=ready.submit("refused", data=f"s3://{ready.at.bucket}/{ready.at.session}/bad", preset="quickstart"),
        killed=ready.submit("out of memory", overrides=one, train_seed="4", train_cpu="500m", train_memory="900Mi"),
        small=ready.submit("too small", overrides=one, train_seed="4", train_cpu="500m", train_memory="128Mi"),
        diverged=ready.submit("failed stage", train_seed="5", overrides=wild, **SMALL),
    )


def uploaded(cluster: Cluster, folder: Path) -> Run:
    """The committed file as a person uploads it in the dashboard, and a run of the form as it opens."""
    sent = versions.package()
    file = folder / "train.yaml"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SIGHTLINE_IMAGES", cluster.at.images)
        file.write_text(versions.package().text)
    server = cluster.server
    pipeline = server.kfp.PipelineUploadServiceApi(server.at.client).upload_pipeline(str(file), name=cluster.at.session)
    (version,) = cluster_records.versions(server, pipeline.display_name)
    run = server.create_run(
        name="form as it opens",
        description="",
        experiment_id=server.experiment(cluster.at.experiment),
        version=version,
        parameters={name: definition["defaultValue"] for name, definition in sent.parameters.items()},
        service_account="sightline",
    )
    return cluster.followed("form as it opens", run.run_id, {})


def without_an_image(cluster: Cluster, pipeline: Path) -> Run:
    """A run whose image of train is nowhere; submit cannot know, as its registry does not answer."""
    images = cluster.at.images.split(",")
    images = ["registry.invalid/sightline-train:gone" if "sightline-train" in image else image for image in images]
    return cluster.submit(
        "no image", pipeline=pipeline, images=",".join(images), train_seed="6", overrides=overrides(train__epochs=1),
        **SMALL,
    )  # fmt: skip


@pytest.fixture(scope="session")
def again(ready: Cluster, first: SimpleNamespace) -> SimpleNamespace:
    """Runs after the quickstart, whose training is not repeated."""
    assert first.quickstart.ended["state"] == "SUCCEEDED"
    return SimpleNamespace(
        tonight=ready.submit("tonight's run"),
        twin=ready.submit("tonight's run"),
        memory=ready.submit("other memory", train_memory="2900Mi"),
        unchanged=ready.submit("unchanged", retrain="changed"),
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what the runs came to."""
    for line in terminalreporter.config.stash.get(RUNS, []):
        terminalreporter.write_line(line)
