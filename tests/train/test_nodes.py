"""Supervisors of several nodes, each in a process of its own on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from sightline.config import TrainConfig
from sightline.errors import ConfigError
from sightline.train.nodes import Node, identity, place
from sightline.train.nodes.node import socket_variables
from tests.helpers.command import sightline
from tests.helpers.documents import write_run

LONG, SHORT, BROKEN = ["sleep", "25"], ["sleep", "0.3"], ["sh", "-c", "exit 7"]
SAME = {"snapshot": "5" * 64, "train.batch": "16"}


class Process:
    """A supervisor and what it has said so far."""

    def __init__(self, **settings: Any) -> None:
        command = [sys.executable, "-m", "tests.helpers.node_process", json.dumps({"identity": SAME, **settings})]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.said: list[dict[str, Any]] = []
        self.notes: list[str] = []
        self._threads = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.said, json.loads), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self.notes, str), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _read(lines: Any, into: list[Any], parse: Callable[[str], Any]) -> None:
        with lines:
            for line in lines:
                into.append(parse(line))

    def wait_for(self, event: str, count: int = 1) -> dict[str, Any]:
        """Wait until it has said something for so many times, and return that."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if len(found := self.all(event)) >= count:
                return found[count - 1]
            time.sleep(0.02)
        raise AssertionError(f"no {event} in {self.said} {''.join(self.notes)}")

    def all(self, event: str) -> list[dict[str, Any]]:
        return [each for each in list(self.said) if each["event"] == event]

    def end(self) -> int:
        """Wait for its end and return the exit code."""
        code = self.process.wait(40)
        for thread in self._threads:
            thread.join(10)
        return code

    def kill(self) -> None:
        """Kill it and its ranks as a machine that loses its power does."""
        for running in self.all("running"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(running["pid"], signal.SIGKILL)
        self.process.kill()
        self.process.wait()


Start = Callable[..., Process]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the supervisor of a node, on a port that all nodes of a test share."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started: list[Process] = []

    def begin(rank: int, *attempts: list[list[str]], count: int = 2, **settings: Any) -> Process:
        node = {"rank": rank, "count": count, "address": "127.0.0.1", "port": port}
        started.append(Process(node=node, attempts=attempts, **settings))
        return started[-1]

    begin.port = port  # type: ignore[attr-defined]
    yield begin
    for process in started:
        if process.process.poll() is None:
            process.kill()
        process.end()


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    return False


def test_every_node_runs_the_attempts_of_node_0_and_ends_when_it_does(start: Start) -> None:
    follower = start(1)
    leader = start(0, [SHORT, SHORT])
    assert (leader.end(), follower.end()) == (0, 0)
    begun, given = leader.wait_for("started"), follower.wait_for("assigned")
    assert (begun["number"], begun["port"]) == (given["number"], given["port"])
    assert begun["environment"] == given["environment"] == {"GLOO_SOCKET_IFNAME": "lo"}
    ended = leader.wait_for("ended")
    assert ended["codes"] == {"0": 0, "1": 0}
    assert ended["evidence"] == {"1": {"command": SHORT}}
    assert leader.wait_for("progress")["of"] in ({"1": {"step": 17}}, {"1": {}})  # the latter when it ended first


def test_a_killed_node_ends_the_attempt_by_name_and_its_successor_joins_the_next(start: Start) -> None:
    leader, follower = start(0, [LONG, LONG], [SHORT, SHORT]), start(1)
    leader.wait_for("running")
    follower.wait_for("running")
    follower.kill()
    killed = time.monotonic()
    host = socket.gethostname()
    assert leader.wait_for("stopped")["reason"] == f"node 1 ({host}) has been silent for 2 s."
    assert time.monotonic() - killed < 10
    ended = leader.wait_for("ended")
    assert list(ended["lost"]) == ["1"]
    again = start(1)
    assert (leader.end(), again.end()) == (0, 0)
    assert again.wait_for("assigned")["number"] == 2


def test_a_node_that_is_started_again_at_once_is_known_to_have_lost_its_ranks(start: Start) -> None:
    leader, follower = start(0, [LONG, LONG], [SHORT, SHORT]), start(1)
    follower.wait_for("running")
    follower.kill()
    again = start(1)
    reason = leader.wait_for("stopped")["reason"]
    assert reason.endswith("was started again.") or "silent for 2 s" in reason  # on a slow machine
    assert (leader.end(), again.end()) == (0, 0)
    assert [each["number"] for each in again.all("assigned")] == [2]


def test_a_node_that_stands_still_is_lost_and_joins_the_next_attempt_when_it_goes_on(start: Start) -> None:
    leader, follower = start(0, [LONG, LONG], [SHORT, SHORT]), start(1)
    first = follower.wait_for("running")["pid"]
    leader.wait_for("running")
    follower.process.send_signal(signal.SIGSTOP)
    assert "has been silent for" in leader.wait_for("stopped")["reason"]
    follower.process.send_signal(signal.SIGCONT)
    assert (leader.end(), follower.end()) == (0, 0)
    assert not alive(first)
    assert [each["number"] for each in follower.all("assigned")] == [1, 2]


def test_when_node_0_is_killed_the_others_end_their_ranks_and_wait_for_it(start: Start) -> None:
    leader, follower = start(0, [LONG, LONG]), start(1)
    ranks = follower.wait_for("running")["pid"]
    leader.wait_for("running")
    leader.kill()
    assert "has been silent for" in follower.wait_for("stopped")["reason"]
    again = start(0, [SHORT, SHORT])
    assert (again.end(), follower.end()) == (0, 0)
    assert not alive(ranks)
    assert [each["number"] for each in follower.all("assigned")] == [1, 1]  # of two leaders


def test_ranks_that_fail_on_one_node_end_those_of_the_others_with_their_evidence(start: Start) -> None:
    leader, follower = start(0, [LONG, BROKEN], [BROKEN, LONG], [SHORT, SHORT]), start(1)
    assert (leader.end(), follower.end()) == (0, 0)
    assert "ended with exit code 7" in leader.wait_for("stopped")["reason"]
    first, second, _ = leader.all("ended")
    assert first["codes"] == {"0": -signal.SIGKILL, "1": 7}
    assert first["evidence"] == {"1": {"command": BROKEN}}
    assert second["codes"] == {"0": 7, "1": -signal.SIGKILL}
    assert follower.wait_for("stopped")["reason"].endswith("ended the attempt.")


def test_the_error_of_node_0_is_the_error_of_every_node(start: Start) -> None:
    leader, follower = start(0, [BROKEN, BROKEN]), start(1)
    assert (leader.end(), follower.end()) == (1, 1)
    told = follower.wait_for("failed")
    assert told["kind"] == "train"
    assert told["message"] == f"Node 0 ({socket.gethostname()}): no attempt succeeded."


def test_a_node_that_cannot_train_as_configured_ends_the_others_at_once(start: Start) -> None:
    leader, follower = start(0, [SHORT, SHORT]), start(1, unready="train.gpus: got 8, but there are 4.")
    assert (leader.end(), follower.end()) == (2, 2)
    told = leader.wait_for("failed")
    assert (told["kind"], told["message"]) == (
        "device",
        f"Node 1 ({socket.gethostname()}): train.gpus: got 8, but there are 4.",
    )


def test_a_node_that_trains_something_else_is_refused_by_name_and_does_not_disturb(start: Start) -> None:
    other = start(1, identity={**SAME, "train.batch": "32"})
    leader = start(0, [SHORT, SHORT])
    assert other.end() == 2
    found = f"train.batch: 16 on node 0 ({socket.gethostname()}), 32 on node 1 ({socket.gethostname()})"
    assert found in other.wait_for("failed")["message"]
    right = start(1)
    assert (leader.end(), right.end()) == (0, 0)
    assert any(found in note for note in leader.notes)


def test_two_machines_cannot_be_the_same_node(start: Start) -> None:
    leader, first = start(0, [["sleep", "6"], ["sleep", "6"]]), start(1)
    leader.wait_for("running")
    second = start(1)
    assert second.end() == 2
    assert "--node-rank 1 is taken by" in second.wait_for("failed")["message"]
    assert (leader.end(), first.end()) == (0, 0)


def test_a_start_without_all_nodes_says_for_whom_it_waits_and_fails_in_the_end(start: Start) -> None:
    leader, follower = start(0, [SHORT, SHORT, SHORT], count=3), start(1, count=3)
    assert (leader.end(), follower.end()) == (1, 1)
    message = leader.wait_for("failed")["message"]
    assert "for all 3 nodes, and 1 did not come. Start `sightline train` on each" in message
    assert message.endswith("- node 2 has not been heard of")
    assert any("s so far: node 2 has not been heard of; node 1" in note or "node 2" in note for note in leader.notes)


def test_a_node_without_node_0_says_so_and_fails_in_the_end(start: Start) -> None:
    follower = start(1)
    assert follower.end() == 1
    assert "has not answered for 5 s (connection refused)" in follower.wait_for("failed")["message"]
    assert any("waiting for node 0 at 127.0.0.1:" in note for note in follower.notes)


def test_foreign_bytes_on_the_port_disturb_nobody(start: Start) -> None:
    leader, follower = start(0, [["sleep", "2"], ["sleep", "2"]]), start(1)
    leader.wait_for("running")
    head = b"POST /sightline/train HTTP/1.1\r\nContent-Length: "
    foreign = [
        b"\x80\x04\x95junk\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        head + b"2\r\n\r\n{}",
        head + b"9999999999\r\n\r\n",
        head + b"-1\r\n\r\n",
        head + b"10000\r\n\r\nnot all of it",
    ]
    for sent in foreign:
        with socket.create_connection(("127.0.0.1", start.port)) as connection:  # type: ignore[attr-defined]
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(5)
            assert b"200 OK" not in connection.recv(4096)
    assert (leader.end(), follower.end()) == (0, 0)
    assert leader.notes == []


def test_a_second_training_on_the_port_is_refused(start: Start) -> None:
    first, follower = start(0, [["sleep", "4"], ["sleep", "4"]]), start(1)
    first.wait_for("started")
    second = start(0, [SHORT, SHORT])
    assert second.end() == 2
    assert second.wait_for("failed")["message"].startswith("--master-port: node 0 cannot listen on")
    assert (first.end(), follower.end()) == (0, 0)


TWO = TrainConfig(nodes=2, gpus=4)
TRAINER = {  # what Kubeflow Trainer puts into the second pod of a TrainJob
    "PET_NNODES": "2",
    "PET_NPROC_PER_NODE": "4",
    "PET_NODE_RANK": "1",
    "PET_MASTER_ADDR": "mine-node-0-0.mine",
    "PET_MASTER_PORT": "29500",
}


def test_a_launcher_says_in_variables_which_node_it_is() -> None:
    assert place(TWO, environ=TRAINER) == Node(rank=1, count=2, address="mine-node-0-0.mine", port=29500)
    # the older PyTorchJob has both
    assert place(TWO, environ={**TRAINER, "RANK": "1", "WORLD_SIZE": "2"}) == place(TWO, environ=TRAINER)


def test_options_win_over_variables() -> None:
    node = place(TWO, rank=0, address="10.0.0.7", port=4000, environ=TRAINER)
    assert node == Node(rank=0, count=2, address="10.0.0.7", port=4000)
    assert node.meeting == "127.0.0.1"


def test_one_node_needs_nothing() -> None:
    assert place(TrainConfig(), environ={}) is None
    assert place(TrainConfig(), environ={"PET_NNODES": "1", "PET_NODE_RANK": "0", "PET_NPROC_PER_NODE": "8"}) is None


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"PET_NNODES": "3"}, "PET_NNODES is '3' and train.nodes 2: set train.nodes=3"),
        ({"PET_NNODES": "1:2"}, "PET_NNODES is '1:2' and train.nodes 2: a fixed number is needed"),
        ({"PET_NPROC_PER_NODE": "8"}, "PET_NPROC_PER_NODE is '8' and train.gpus 4"),
        ({"PET_NPROC_PER_NODE": "cpu"}, "PET_NPROC_PER_NODE is 'cpu' and train.gpus 4"),
        ({"PET_NODE_RANK": "2"}, "--node-rank: got 2, expected 0 to 1"),
        ({"PET_NODE_RANK": "first"}, "PET_NODE_RANK: got 'first', expected a whole number"),
        ({"PET_MASTER_PORT": "99999"}, "--master-port: got 99999, expected 1 to 65535"),
        ({"PET_MASTER_ADDR": "host:29500"}, "--master-addr: got 'host:29500', expected a host name"),
    ],
)
def test_variables_that_contradict_the_configuration_are_refused(variables: dict[str, str], found: str) -> None:
    with pytest.raises(ConfigError) as refused:
        place(TWO, environ={**TRAINER, **variables})
    assert found in str(refused.value)


def test_variables_that_leave_the_processes_open_are_taken() -> None:
    for open_ in ("auto", "gpu"):
        assert place(TWO, environ={**TRAINER, "PET_NPROC_PER_NODE": open_})
    assert place(TrainConfig(nodes=2), environ={**TRAINER, "PET_NPROC_PER_NODE": "8"})  # a pod's cores


def test_several_nodes_without_a_number_get_the_commands_to_run() -> None:
    with pytest.raises(ConfigError) as refused:
        place(TWO, command="sightline train --run runs/mine", environ={})
    assert refused.value.problems == (
        "sightline train --run runs/mine --node-rank 0 --master-addr HOST",
        "sightline train --run runs/mine --node-rank 1 --master-addr HOST",
    )
    with pytest.raises(ConfigError, match="--node-rank is not set"):
        place(TWO, address="10.0.0.7", environ={})


def test_the_command_says_what_to_run_on_each_machine(tmp_path: Path) -> None:
    write_run(tmp_path / "mine", stages=["validate"])
    done = sightline("train", "--run", "mine", "--set", "train.nodes=2", cwd=tmp_path)
    assert done.returncode == 2
    assert "sightline train --run mine --set train.nodes=2 --node-rank 1 --master-addr HOST" in done.stderr
    assert not (tmp_path / "mine" / "train").exists()


def test_options_of_several_nodes_need_several_nodes() -> None:
    with pytest.raises(ConfigError, match=r"train\.nodes is 1"):
        place(TrainConfig(), rank=0, environ={})


@pytest.mark.parametrize(
    "variables",
    [{"LOCAL_RANK": "0"}, {"TORCHELASTIC_RUN_ID": "none"}, {"RANK": "1", "WORLD_SIZE": "2"}],
)
def test_a_rank_of_a_torchrun_is_refused_with_what_to_do(variables: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="Start `sightline train --run RUN` once on each machine instead") as refused:
        place(TrainConfig(), environ=variables)
    assert all(f"{name}={value}" in str(refused.value) for name, value in variables.items())


def test_nodes_differ_by_what_they_train_and_not_by_where_the_snapshot_lies() -> None:
    def of(snapshot: str, **config: Any) -> dict[str, str]:
        return identity(snapshot=snapshot, weights="yolo11n.yaml", config=TrainConfig(**config), code="c" * 64)

    here, there = of("file:///a/store/snapshots/5d"), of("s3://bucket/snapshots/5d")
    assert here == there
    assert here["version of torch"] == metadata.version("torch")
    other = of("s3://bucket/snapshots/6e", batch=32, augment={"mixup": 0.5})
    assert {name for name in here if here[name] != other[name]} == {"snapshot", "train.batch", "train.augment.mixup"}


def test_gloo_uses_the_network_of_the_nodes_unless_the_user_chose_another() -> None:
    assert socket_variables("127.0.0.1", {}) == {"GLOO_SOCKET_IFNAME": "lo"}
    assert socket_variables("::ffff:127.0.0.1", {}) == {"GLOO_SOCKET_IFNAME": "lo"}
    assert socket_variables("192.0.2.1", {}) == {}  # none of ours
    assert socket_variables("127.0.0.1", {"GLOO_SOCKET_IFNAME": "ib0"}) == {}
