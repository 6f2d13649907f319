"""The options that only `sightline train` has: resuming, and this machine's place among several."""

from __future__ import annotations

from typing import Annotated

import typer

from sightline.cli.options import non_empty

AUTO, OFF = "auto", "off"


def _resume(text: str) -> str:
    if text not in (AUTO, OFF):
        raise typer.BadParameter(f"got '{text}', expected {AUTO} or {OFF}.")
    return text


Resume = Annotated[
    str,
    typer.Option(
        parser=_resume,
        metavar=f"<{AUTO}|{OFF}>",
        help="auto: go on from the newest good checkpoint of the same training, if there is one; off: train from the "
        "start.",
    ),
]
NodeRank = Annotated[
    int | None,
    typer.Option(metavar="<int>", help="Which of train.nodes machines this is; 0 decides. Default: PET_NODE_RANK."),
]
MasterAddr = Annotated[
    str | None,
    typer.Option(parser=non_empty, metavar="<host>", help="Address of machine 0. Default: PET_MASTER_ADDR."),
]
MasterPort = Annotated[
    int | None,
    typer.Option(metavar="<int>", help="Port on which machine 0 listens. Default: PET_MASTER_PORT, or 29500."),
]
