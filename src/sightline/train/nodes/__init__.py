"""Several nodes: node 0 decides, the others follow.

Each machine runs one supervisor (`sightline train`), and each supervisor one torchrun. Node 0's (`Coordinator`)
listens on `--master-port`. Every second the others (`Follower`) tell it how they are, and its answer says what they
are to do: run an attempt, end it, or stop because training is over. A question repeated or lost changes nothing, so
that either side may be started again. What a node prints goes along, and stands in node 0's log. They exchange JSON
over HTTP, without torch, and nothing that a node receives is executed. As with the port of torch's own rendezvous,
whoever reaches it can take part: it belongs in a private network.
"""

from sightline.train.nodes.coordinator import Coordinator
from sightline.train.nodes.follower import EndedByNode0, Follower
from sightline.train.nodes.messages import Assignment, Limits, Report, limits
from sightline.train.nodes.node import PORT, Node, identity, place

__all__ = [
    "PORT",
    "Assignment",
    "Coordinator",
    "EndedByNode0",
    "Follower",
    "Limits",
    "Node",
    "Report",
    "identity",
    "limits",
    "place",
]
