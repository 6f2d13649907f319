"""A pod of the other nodes of a training in a pipeline: `python -m sightline.train.rank`.

What it trains stands in `SIGHTLINE_RANK`, and which node it is in `JOB_COMPLETION_INDEX`, which the Job sets. It ends
with 0 where another pod in its place would not help: training is over, whatever came of it, or node 0 is gone.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from pathlib import Path

from sightline.config import TrainConfig
from sightline.documents import parse_weights
from sightline.documents.base import Part
from sightline.errors import SightlineError
from sightline.runtime import machine
from sightline.runtime.stage_frame import stop_on_signals

machine.limit_threads()  # before anything imports numpy

VARIABLE, INDEX = "SIGHTLINE_RANK", "JOB_COMPLETION_INDEX"
SILENCE = 60.0  # seconds after which a node 0 that does not answer is gone; its pod's successor makes pods of its own
SAID = Path("/dev/termination-log")  # what a pod says at its end, where Kubernetes shows it
ADVICE = (
    "The pod of train has ended, or a network policy keeps the two apart: the component several-nodes of manifests/ "
    "lets them reach each other."
)


class Share(Part):
    """What a node trains, and under whom."""

    snapshot: str
    weights: str  # as text
    config: TrainConfig
    code: str
    address: str  # of node 0
    port: int
    silence: float = SILENCE


def main() -> int:
    """Take part, and return the exit code of the pod."""
    from sightline.train.nodes import EndedByNode0, Limits, Node
    from sightline.train.take_part import take_part

    stop_on_signals()
    share = Share.model_validate_json(os.environ[VARIABLE])
    node = Node(rank=int(os.environ[INDEX]) + 1, count=share.config.nodes, address=share.address, port=share.port)
    try:
        take_part(
            snapshot=share.snapshot,
            config=share.config,
            weights=parse_weights(share.weights),
            code=share.code,
            node=node,
            limits=Limits(leader=share.silence, silent=min(Limits.silent, share.silence)),
            advice=ADVICE,
        )
    except EndedByNode0 as error:
        return _end(str(error), 0)
    except SightlineError as error:
        return _end(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _end("It was told to end.", 130)
    except Exception as error:  # noqa: BLE001 - said before the pod is gone, with its traceback
        traceback.print_exc()
        return _end(f"{type(error).__name__}: {error}", 1)
    return _end("Training has ended.", 0)


def _end(text: str, code: int) -> int:
    print(f"{'error: ' if code else ''}{text}", file=sys.stderr, flush=True)
    with contextlib.suppress(OSError):
        if SAID.is_file():
            SAID.write_text(text, encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
