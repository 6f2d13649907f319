"""What the nodes tell each other, in JSON, and how long they wait for each other."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field

from sightline.documents import ErrorReport
from sightline.documents.base import Part
from sightline.errors import ConfigError, shown

LARGEST = 8 << 20  # bytes of a message
PATH = "/sightline/train"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long nodes wait for each other, in seconds."""

    beat: float = 1.0  # between two messages of a node
    answer: float = 10.0  # for the answer to one
    silent: float = 30.0  # without a message, after which a node counts as lost; a lost node must be known in a minute
    grace: float = 10.0  # for ranks to fail by themselves after those of another node, and to write down why
    ending: float = 30.0  # for ranks that were told to end
    gather: float = 600.0  # for all nodes to be there before an attempt
    leader: float = 600.0  # for node 0 to come, and to come back
    remind: float = 60.0  # between two notes that say for whom a node waits


LIMITS = Limits()
WAIT = "SIGHTLINE_NODES_WAIT"  # environment variable: seconds in which all nodes must be there


def limits(environ: Mapping[str, str] = os.environ) -> Limits:
    """Return what the environment says. Raises ConfigError where that is no number of seconds."""
    text = environ.get(WAIT)
    if not text:
        return LIMITS
    with contextlib.suppress(ValueError):
        seconds = float(text)
        if 0 < seconds < math.inf:
            return replace(LIMITS, gather=seconds, leader=seconds)
    raise ConfigError(f"{WAIT}: got {shown(text)}, expected the seconds in which all nodes must be there, such as 600.")


class Assignment(Part):
    """An attempt that every node runs its share of."""

    session: str  # of node 0: one that was started again counts its attempts in another one
    number: int
    port: int  # where torchrun's agents meet, on node 0
    job: dict[str, Any]


class Report(Part):
    """How an attempt ended on a node."""

    exit_code: int  # of torchrun, negative for a signal
    evidence: dict[str, Any] = Field(default_factory=dict)  # the supervisor's own: exceptions, heartbeats, memory
    energy_joules: float | None = None  # of its cards that trained


class Reported(Part):
    """A report, and of which attempt it is."""

    session: str
    number: int
    report: Report


class Beat(Part):
    """What a node tells node 0 every second: all that it has to say, so that no message depends on another."""

    rank: int
    session: str  # of the process that sends it
    host: str
    identity: dict[str, str]
    ready: bool  # can run an attempt
    running: bool  # runs one
    progress: dict[str, Any]  # of the one that it runs
    reported: Reported | None = None  # of the last one that it ran
    left: ErrorReport | None = None  # the process ends for this reason
    first: int = 0  # number of the first of `lines`, counted from 0 in this process
    lines: list[str] = Field(default_factory=list)  # what it printed, from the first that node 0 may not have


class Orders(Part):
    """What node 0 answers."""

    session: str
    host: str
    refused: list[str] = Field(default_factory=list)  # where the nodes differ
    taken: str | None = None  # the machine that is this node already
    heard: int = 0  # lines of this process that node 0 has
    assignment: Assignment | None = None
    end: bool = False  # the ranks of the attempt
    finished: bool = False
    error: ErrorReport | None = None  # with which it finished
