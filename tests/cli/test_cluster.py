"""`sightline cluster check`, and what `sightline submit` makes of it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from sightline.cli import cluster
from sightline.cluster.findings import ok, problem
from tests.helpers import compiled
from tests.helpers.kfp_stand_in import StandIn
from tests.helpers.kubernetes_double import KubernetesDouble
from tests.helpers.kubernetes_objects import node, quota, usual

Command = Callable[..., subprocess.CompletedProcess[str]]
IMAGES = ",".join(f"127.0.0.1:1/sightline-{name}:1" for name in ("data", "train", "infer"))
SUBMIT = ("submit", "--pipeline", "small.yaml")


def test_findings_stand_in_columns_and_cannot_steer_the_terminal() -> None:
    lines = [line.plain for line in cluster.lines([ok("kfp", "answers"), problem("pod security", "a\n\x1b[31m b")])]
    assert lines == ["ok       kfp           answers", "problem  pod security  a \\x1b[31m b"]


def test_the_command_asks_for_what_the_parameters_say_and_exits_by_what_it_finds(
    kfp_server: StandIn, kubernetes_server: KubernetesDouble, tmp_path: Path, command: Command
) -> None:
    usual(kubernetes_server)
    arguments = ("cluster", "check", "--outside", "--param", "train_gpus=1", "--json")
    done = command(*arguments, cwd=tmp_path, SIGHTLINE_IMAGES=IMAGES)
    answer = json.loads(done.stdout)
    assert (answer["problem"], done.returncode) == (1, 2)
    (found,) = [each for each in answer["checks"] if each["level"] == "problem"]
    assert found["check"] == "nodes"
    assert found["words"].startswith("train: 0 of 1 nodes could take it: 1 without any nvidia.com/gpu.")
    assert kubernetes_server.of("Job", "batch") == []


def test_submit_refuses_what_the_cluster_cannot_do_and_names_all_of_it(
    kfp_server: StandIn, kubernetes_server: KubernetesDouble, tmp_path: Path, command: Command
) -> None:
    compiled.write(tmp_path)
    usual(kubernetes_server, node(taints=[{"key": "team", "effect": "NoSchedule"}]))
    kubernetes_server.add(quota(hard={"pods": "0"}))
    done = command(*SUBMIT, cwd=tmp_path)
    assert done.returncode == 2
    assert "quota: train: 1 of pods are more than the 0 of the ResourceQuota quota" in done.stderr
    assert "nodes: train: 0 of 1 nodes could take it: 1 with the taint team:NoSchedule" in done.stderr
    assert (kfp_server.versions, kfp_server.runs) == ({}, {})
    assert command(*SUBMIT, "--no-check", cwd=tmp_path).returncode == 0
    assert len(kfp_server.runs) == 1


def test_submit_goes_on_without_rights_and_says_so_in_a_line(
    kfp_server: StandIn, kubernetes_server: KubernetesDouble, tmp_path: Path, command: Command
) -> None:
    compiled.write(tmp_path)
    usual(kubernetes_server)
    objects = ("nodes", "limitranges", "resourcequotas", "pods")
    kubernetes_server.forbidden = {f"list {each}" for each in objects} | {"get namespaces", "get serviceaccounts"}
    done = command(*SUBMIT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("cluster")]
    assert line.startswith("cluster    not checked: ")
    assert "you may not get namespaces" in line
    kubernetes_server.token = "another"
    done = command(*SUBMIT, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "cluster    not checked: the API server does not accept your credentials" in done.stdout
