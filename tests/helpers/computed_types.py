"""Trainings whose card is said to compute in a type, though they run on a CPU: for scripts that tests start."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tests.helpers import small_training


def trainer(path: Path, kind: str, *, change: Any = None, forget: bool = False) -> Any:
    """Return a trainer that is to compute in `kind`.

    `change` is done to its network before all else. With `forget` it goes on in float32 after the check.
    """
    plain = small_training.trainer(path)

    from sightline.train.engine import precision

    class AsOnCard(type(plain)):  # type: ignore[misc]
        def setup_model(self) -> Any:
            state = super().setup_model()
            if change:
                change(self.model)
            return state

        def compute_type(self) -> precision.Choice:
            return precision.Choice(next(it for it in precision.TYPES if it == kind), "a card would")

        def settle_precision(self) -> None:
            super().settle_precision()
            if forget:
                self.precision = self.precision.model_copy(update={"used": "off"})
                self.scaler = precision.scaler(self.device, "off")

    plain.__class__ = AsOnCard
    return plain


def overflowing(model: Any) -> None:
    """Let products in the network's attention exceed what fp16 holds, though no weight does."""
    attention = model.model[10].m[0].attn
    queries_and_keys = attention.qkv.bn.weight.data.view(attention.num_heads, -1)[:, : 2 * attention.key_dim]
    queries_and_keys *= 1000


def computing_wrongly(model: Any) -> None:
    """Let a layer give zeros in any type but float32, as some cards do."""
    model.model[3].conv.register_forward_hook(
        lambda module, inputs, output: output if str(output.dtype) == "torch.float32" else output * 0
    )


def digest(state: dict[str, Any]) -> str:
    """Return a digest of a state_dict: weights, and statistics of batch normalisation."""
    found = hashlib.sha256()
    for name, value in state.items():
        found.update(name.encode() + value.detach().cpu().numpy().tobytes())
    return found.hexdigest()
