"""A supervisor of one of several nodes whose ranks are any command: `python -m tests.helpers.node_process SETTINGS`.

`SETTINGS` is JSON: the node, what must be the same on all nodes, the attempts that node 0 gives out (for each the
command of every node), and `unready`, an error with which the node ends before it takes part. It prints events in JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from sightline.errors import DeviceError, SightlineError, TrainError
from sightline.train.nodes import Assignment, Coordinator, Follower, Limits, Node, Report

LIMITS = Limits(beat=0.1, answer=5, silent=2, grace=0.5, ending=3, gather=5, leader=5, remind=1)


def say(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def ranks(command: list[str], stop: Callable[[], str | None]) -> Report:
    """Run this node's ranks until they end, or have to."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as group:
        say("running", pid=group.pid)
        while group.poll() is None:
            if reason := stop():
                say("stopped", reason=reason)
                group.kill()
                group.wait()
            time.sleep(0.05)
    return Report(exit_code=group.returncode, evidence={"command": command})


def lead(node: Node, settings: dict[str, Any]) -> None:
    with Coordinator(node, settings["identity"], LIMITS) as coordinator:
        for number, commands in enumerate(settings["attempts"], start=1):
            port = coordinator.start_attempt(number, {"commands": commands})
            say("started", number=number, port=port, environment=coordinator.environment())
            own = ranks(commands[0], coordinator.stop)
            say("progress", of=coordinator.progress())
            reports, lost, *_ = coordinator.collect(patience=2)
            codes = {0: own.exit_code} | {rank: report.exit_code for rank, report in reports.items()}
            say("ended", codes=codes, lost=lost, evidence={rank: report.evidence for rank, report in reports.items()})
            if not lost and not any(codes.values()):
                return
        raise TrainError("no attempt succeeded.")


def follow(node: Node, settings: dict[str, Any]) -> None:
    def run(assignment: Assignment, stop: Callable[[], str | None]) -> Report:
        say("assigned", number=assignment.number, port=assignment.port, environment=follower.environment())
        return ranks(assignment.job["commands"][node.rank], stop)

    with Follower(node, settings["identity"], LIMITS) as follower:
        if "unready" in settings:
            raise DeviceError(settings["unready"])
        follower.run(run, lambda: {"step": 17})


def main() -> int:
    settings = json.loads(sys.argv[1])
    node = Node(**settings["node"])
    try:
        (follow if node.rank else lead)(node, settings)
    except SightlineError as error:
        say("failed", kind=error.kind, message=str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
