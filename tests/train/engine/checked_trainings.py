"""What the process of `test_precision_check.py` runs: checks, what they leave, and trainings after them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.helpers import small_training
from tests.helpers.built_trainer import small
from tests.helpers.computed_types import computing_wrongly, digest, overflowing, trainer

VALUES = {"train.epochs": 1, "train.batch": 4, "train.nominal_batch": 4, "train.augment.mosaic": 1.0}


def everything(it: Any) -> dict[str, Any]:
    """Return what a check must leave as it was."""
    from sightline.train.engine import state

    model = it.model
    generators = state._generators()
    return {
        "weights and statistics": digest(model.state_dict()),
        "generators": {name: str(value) for name, value in generators.items() if name != "torch"}
        | {"torch": generators["torch"].tolist()},
        "trained": [name for name, parameter in model.named_parameters() if parameter.requires_grad],
        "gradients": [name for name, parameter in model.named_parameters() if parameter.grad is not None],
        "training": [module.training for module in model.modules()],
        "own attributes": [sorted(vars(module)) for module in model.modules()],
        "hooks": [len(module._forward_hooks) for module in model.modules()],
        "callbacks": {event: [str(call) for call in calls] for event, calls in it.callbacks.items()},
        "next images": it.train_loader.batch_sampler.sampler.epoch,
    }


def checks(folder: Path, data_yaml: Path) -> dict[str, Any]:
    """Check networks that are sound, that overflow and that compute wrongly."""
    from sightline.train.engine import precision_check

    found: dict[str, Any] = {}
    cases = {"sound": (None, ("bf16", "fp16")), "overflowing": (overflowing, ("bf16", "fp16"))}
    cases["computing wrongly"] = (computing_wrongly, ("bf16",))
    for case, (change, kinds) in cases.items():
        path = small_training.prepared(folder / case, data_yaml, VALUES | {"train.freeze": 2})
        it = trainer(path, "off", change=change)
        it._setup_train()
        before = everything(it)
        for kind in kinds:
            found[f"{case} {kind}"] = precision_check.check(it, kind).model_dump(mode="json")
            after = everything(it)
            found.setdefault("changed", []).extend(name for name in before if before[name] != after[name])
    return found


def trained(path: Path, kind: str, **options: Any) -> dict[str, Any]:
    """Train, and return the weights, and in which types layers, raw outputs and losses were."""
    it = trainer(path, kind, **options)
    seen: dict[str, set[str]] = {"train": set(), "val": set()}
    hooks: list[Any] = []

    def watch(it: Any) -> None:
        for phase, model in (("train", it.model), ("val", it.ema.ema)):
            layer, head = model.model[5].conv, model.model[-1]

            def note(module: Any, inputs: Any, output: Any, phase: str = phase) -> None:
                for tensor in _tensors(output):
                    seen[phase].add(f"{type(module).__name__} {str(tensor.dtype).removeprefix('torch.')}")

            hooks.extend(module.register_forward_hook(note) for module in (layer, head))

    it.add_callback("on_train_start", watch)
    it.add_callback("on_fit_epoch_end", lambda it: [hook.remove() for hook in hooks])  # no checkpoint can hold them
    it.train()
    return {
        "digest": digest(it.model.state_dict()),
        "averaged": digest(it.ema.ema.state_dict()),
        "seen": {phase: sorted(types) for phase, types in seen.items()},
        "precision": it.precision.model_dump(mode="json"),
        "scaler": it.scaler.is_enabled(),
        "loss type": str(it.loss.dtype),
        "losses": {name: float(value) for name, value in it.tloss.items()},
        "table": it.csv.read_text(),
        "says": str(it.args.amp),
    }


def _tensors(value: Any) -> Any:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif hasattr(value, "dtype"):
        yield value


def main(folder: Path) -> None:
    """Print all facts as JSON."""
    data_yaml = small(folder / "drawn")
    found: dict[str, Any] = {"checks": checks(folder, data_yaml), "trained": {}}
    asked: dict[str, dict[str, Any]] = {
        "off": {"kind": "off"},
        "checked, then off": {"kind": "bf16", "forget": True},
        "bf16": {"kind": "bf16"},
        "overflowing, off": {"kind": "off", "change": overflowing},
        "overflowing, fp16": {"kind": "fp16", "change": overflowing},
    }
    for name, options in asked.items():
        path = small_training.prepared(folder / f"trained {name}", data_yaml, VALUES)
        found["trained"][name] = trained(path, **options)
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
