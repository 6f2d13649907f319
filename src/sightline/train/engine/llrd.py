"""Layer-wise learning-rate decay: a layer learns more slowly, the more layers lie behind it.

`train.llrd` is the factor from one layer to the one before it. Layers are those that `train.freeze` counts: the items
of the network's list, of which the last is the head. With decay d, layer i of n has the rate lr0 · d^(n - 1 - i).
"""

from __future__ import annotations

from typing import Any

KINDS = (("weight", "muon"), ("bn",), ("bias",))  # the engine's groups, in the order of its table


def split(optimizer: Any, model: Any, decay: float) -> None:
    """Split the engine's groups of parameters by layer, and give each its rate; the head's come first.

    `optimizer` has made no step yet. Each group keeps its number of layer and its factor, `layer` and `layer_decay`.
    """
    layers = {id(parameter): _layer(name) for name, parameter in model.named_parameters()}
    last = len(model.model) - 1
    groups = list(optimizer.param_groups)
    optimizer.param_groups.clear()
    for layer in range(last, -1, -1):
        factor = decay ** (last - layer)
        for group in groups:
            if mine := [parameter for parameter in group["params"] if layers[id(parameter)] == layer]:
                rate = group["lr"] * factor
                optimizer.add_param_group(
                    {**group, "params": mine, "lr": rate, "layer": layer, "layer_decay": factor},
                )


def columns(optimizer: Any) -> dict[str, float]:
    """Return the rates of now as the engine's table names them: of the head's weights, batch normalisation and biases.

    MuSGD trains class branches of the head with three times the rate; here is the rate of the rest. A hook's optimizer
    that has other kinds of groups is shown by its first three.
    """
    groups = [group for group in optimizer.param_groups if group["params"]]
    head = max((group["layer"] for group in groups if "layer" in group), default=None)
    rates = []
    for kinds in KINDS:
        mine = [it["lr"] for it in groups if it.get("param_group") in kinds and it.get("layer", head) == head]
        rates += [min(mine)] if mine else []
    return {f"lr/pg{index}": rate for index, rate in enumerate(rates or [it["lr"] for it in groups[:3]])}


def rates(trainer: Any) -> list[dict[str, Any]] | None:
    """Return what the document says of each layer (`documents.LayerRate`); None without a decay by layers."""
    from ultralytics.utils.torch_utils import unwrap_model

    if trainer.job.config.llrd == "off":
        return None
    found: dict[int, float] = {}
    for group in trainer.optimizer.param_groups:
        if any(parameter.requires_grad for parameter in group["params"]):
            layer = group["layer"]
            found[layer] = min(group["initial_lr"], found.get(layer, group["initial_lr"]))
    layers = unwrap_model(trainer.model).model
    return [
        {"layer": index, "module": type(module).__name__, "rate": found.get(index)}
        for index, module in enumerate(layers)
    ]


def _layer(name: str) -> int:
    """Return the layer of a parameter: 7 for `model.7.conv.weight`."""
    return int(name.split(".")[1])
