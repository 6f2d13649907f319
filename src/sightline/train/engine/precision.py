"""The type that a network computes in: chosen for the cards, checked on network and images, the same in all processes.

What it means is in `autocasting`, how it is checked in `precision_check`.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from sightline.documents import ComputeType, Precision
from sightline.runtime import progress
from sightline.train.engine import precision_check

TYPES: tuple[ComputeType, ...] = ("off", "fp16", "bf16")  # processes exchange their place here, and the least counts
# NVIDIA cards on which fp16 gives NaN or nothing, as the engine knows them (utils/checks.py, check_amp, 8.4.190).
FAILING = re.compile(
    r"(nvidia|geforce|quadro|tesla).*?(1660|1650|1630|t400|t550|t600|t1000|t1200|t2000|k40m)", re.IGNORECASE
)


class Card(NamedTuple):
    """What of a GPU decides the type."""

    name: str
    bf16: bool  # whether it computes bf16 itself, rather than by way of float32


class Choice(NamedTuple):
    """A type, and why it is taken."""

    type: ComputeType
    reason: str


def card(device: Any) -> Card | None:
    """Return the GPU of this process; None on a CPU."""
    import torch

    if device.type != "cuda":
        return None
    return Card(torch.cuda.get_device_name(device), torch.cuda.is_bf16_supported(including_emulation=False))


def choose(asked: str, card: Card | None) -> Choice:
    """Return the type for a card that follows from `train.amp`."""
    if card is None:
        return Choice("off", "CPUs compute in float32")
    if asked != "auto":
        return Choice(next(kind for kind in TYPES if kind == asked), "train.amp asks for it")
    if FAILING.search(card.name):
        return Choice("off", f"the engine knows {card.name} to compute wrongly in fp16")
    if card.bf16:
        return Choice("bf16", f"{card.name} computes it natively")
    return Choice("fp16", f"{card.name} does not compute bf16 natively")


def impossible(asked: str, card: Card | None) -> list[str]:
    """Say that a card cannot compute in the type that `train.amp` asks for; empty if it can."""
    if asked != "bf16" or card is None or card.bf16:
        return []
    return [f"train.amp: got bf16, which {card.name} does not compute natively; expected auto, fp16 or off"]


def settle(trainer: Any, choice: Choice) -> Precision:
    """Agree on a type with all processes and check it; `choice` is the one of this process' own card.

    Every process calls this, before they share the network. The first one checks, and all go by its result. Cards that
    differ compute in a type that all of them can.
    """
    from torch import distributed

    asked = trainer.job.config.amp
    common = TYPES[_least(trainer, TYPES.index(choice.type))]
    reason = choice.reason if common == choice.type else "another card that takes part computes in no other"
    check = None
    first = trainer.world_size < 2 or distributed.get_rank() == 0
    if common != "off" and first:
        check = precision_check.check(trainer, common)
    passed = check is None or check.passed
    used = TYPES[_of_the_first(trainer, TYPES.index(common if passed else "off"))]
    if check is not None and not check.passed:
        reason = f"{common} failed its check: {'; '.join(check.problems)}"
        progress.notice(
            f"train.amp: {reason}. The training goes on in float32, which takes longer; train.amp=off leaves the check "
            "out."
        )
    return Precision(asked=asked, used=used, reason=reason, check=check)


def _least(trainer: Any, code: int) -> int:
    """Return the least code of all processes."""
    from torch import distributed

    if trainer.world_size > 1:
        box = _box(trainer, code)
        distributed.all_reduce(box, op=distributed.ReduceOp.MIN)
        code = int(box)
    return code


def _of_the_first(trainer: Any, code: int) -> int:
    """Return the code of the first process."""
    from torch import distributed

    if trainer.world_size > 1:
        box = _box(trainer, code)
        distributed.broadcast(box, src=0)
        code = int(box)
    return code


def _box(trainer: Any, code: int) -> Any:
    """Return what gloo and NCCL both carry: an integer on the device."""
    import torch

    return torch.tensor(code, dtype=torch.int32, device=trainer.device)


def scaler(device: Any, used: ComputeType) -> Any:
    """Return what scales the loss so that gradients in fp16 are not lost; it does nothing for other types."""
    import torch

    return torch.amp.GradScaler(device.type, enabled=used == "fp16")
