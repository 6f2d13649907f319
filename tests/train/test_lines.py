"""What a node prints stands in node 0's log: every line once, in order, and by its number."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.train.launch import free_port
from sightline.train.nodes import Coordinator, Follower, Limits, Node
from sightline.train.nodes.lines import KEPT, LAST, Lines, Relay, own
from sightline.train.nodes.messages import Beat
from tests.helpers.job_of_processes import until

SAME = {"snapshot": "5" * 64}


def beat(lines: Lines, session: str = "a") -> Beat:
    first, kept = lines.rest()
    return Beat(
        rank=1, session=session, host="h", identity={}, ready=True, running=False, progress={}, first=first, lines=kept
    )


def test_a_line_stands_in_the_log_once_however_often_it_is_sent(tmp_path: Path) -> None:
    lines, relay, log = Lines(), Relay(), tmp_path / "train.log"
    lines.add("one")
    assert relay.take(beat(lines)) == 1  # and its answer is lost
    lines.add("two\n")
    relay.to(log)
    lines.heard(relay.take(beat(lines)))
    lines.add("three")
    lines.heard(relay.take(beat(lines)))
    assert lines.rest() == (3, [])
    assert log.read_text() == "node 1: one\nnode 1: two\nnode 1: three\n"
    again = Lines()
    again.add("one")  # of a process that was started again
    relay.take(beat(again, "b"))
    assert log.read_text().endswith("node 1: three\nnode 1: one\n")
    assert relay.last(1) == ["node 1: one", "node 1: two", "node 1: three", "node 1: one"]


def test_lines_that_node_0_could_not_be_sent_are_counted_and_the_newest_are_kept(tmp_path: Path) -> None:
    lines, relay = Lines(), Relay()
    relay.to(tmp_path / "train.log")
    for number in range(KEPT + 20):
        lines.add(f"line {number}")
    relay.take(beat(lines))
    said = (tmp_path / "train.log").read_text().splitlines()
    assert said[:2] == ["node 1: … 20 lines are left out", "node 1: line 20"]
    assert relay.last(1) == said[-LAST:]


def test_only_node_0s_own_lines_say_how_its_processes_ended() -> None:
    printed = "epoch 1/3\nnode 1: OSError: No space left on device\nnode 12: more\nepoch 2/3\nnode 1: last"
    assert own(printed) == "epoch 1/3\nepoch 2/3\n"


def test_any_text_comes_through(capsys: pytest.CaptureFixture[str]) -> None:
    limits, node = Limits(beat=0.05, answer=2), {"count": 2, "address": "127.0.0.1", "port": free_port()}
    with (
        Coordinator(Node(rank=0, **node), SAME, limits) as leader,
        Follower(Node(rank=1, **node), SAME, limits) as follower,
    ):
        follower.lines.add("Check the logs of the remote worker. GLHF! 🏖️")  # gloo's own words
        until(lambda: leader.relay.last(1), "the line did not come")
        until(lambda: follower.lines.rest() == (1, []), "its answer did not come")
    assert leader.relay.last(1) == ["node 1: Check the logs of the remote worker. GLHF! 🏖️"]
    assert capsys.readouterr().out == "node 1: Check the logs of the remote worker. GLHF! 🏖️\n"
