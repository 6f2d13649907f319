"""What the process of `test_llrd.py` runs: rates of every parameter, and a training that stops and goes on."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from tests.helpers import small_training
from tests.helpers.built_trainer import small

OPTIMIZERS = ("SGD", "MuSGD", "Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSprop")
EPOCHS = 6
DECAY = 0.8


def rates(trainer: Any, optimizer: str, cosine: bool, plain: bool) -> dict[str, Any]:
    """Return the rates of each parameter during warm-up and after each epoch, and the rest of its group's options."""
    from ultralytics.engine.trainer import BaseTrainer

    from sightline.train.engine import llrd, loop
    from sightline.train.engine.optimizer import warm_up

    options = {"name": optimizer, "lr": 0.01, "momentum": 0.9, "decay": 0.0005, "iterations": 100}
    build = BaseTrainer.build_optimizer if plain else type(trainer).build_optimizer
    trainer.optimizer = build(trainer, trainer.model, **options)
    trainer.args.cos_lr, trainer.epochs, trainer.args.warmup_epochs = cosine, EPOCHS, 2
    trainer._setup_scheduler()
    epochs = loop.Epochs(trainer)
    columns, seen = [], {name: {"rates": [], "options": {}} for name, _ in trainer.model.named_parameters()}
    names = {id(parameter): name for name, parameter in trainer.model.named_parameters()}

    def look() -> None:
        columns.append(llrd.columns(trainer.optimizer))
        for group in trainer.optimizer.param_groups:
            for parameter in group["params"]:
                entry = seen[names[id(parameter)]]
                entry["rates"].append(group["lr"])
                kept = {"lr", "initial_lr", "params", "layer", "layer_decay"}
                entry["options"] = {key: value for key, value in group.items() if key not in kept}

    for count in (0, 1, epochs.warmup):
        warm_up(epochs, count, 0)
        look()
    for _ in range(EPOCHS):
        trainer.optimizer.step()
        trainer.scheduler.step()
        look()
    return {"parameters": seen, "columns": columns}


def trained(folder: Path, data_yaml: Path, optimizer: str, **at: Any) -> dict[str, Any]:
    """Train, or go on, and return what is left."""
    from sightline.train.engine import llrd

    values = {"train.optimizer": optimizer, "train.llrd": DECAY, "train.freeze": 2, "train.cosine": True}
    trainer = small_training.trainer(small_training.prepared(folder, data_yaml, values, **at))
    trainer.train()
    digest = hashlib.sha256()
    for value in trainer.model.state_dict().values():
        digest.update(value.numpy().tobytes())
    for group in trainer.optimizer.param_groups:
        digest.update(str([group["lr"], group["initial_lr"]]).encode())
        for parameter in group["params"]:
            for kept in trainer.optimizer.state[parameter].values():
                digest.update(kept.numpy().tobytes())
    return {
        "digest": digest.hexdigest(),
        "table": (folder / "results.csv").read_text(),
        "layers": llrd.rates(trainer),
    }


def main(folder: Path) -> None:
    """Print all facts as JSON."""
    data_yaml = small(folder / "drawn")
    path = small_training.prepared(
        folder / "looked", data_yaml, {"train.llrd": DECAY, "train.epochs": EPOCHS, "train.warmup_bias_lr": 0.1}
    )
    trainer = small_training.trainer(path)
    trainer._setup_train()
    found: dict[str, Any] = {"rates": {}, "trained": {}}
    for optimizer in OPTIMIZERS:
        for cosine in (False, True):
            both = [rates(trainer, optimizer, cosine, plain) for plain in (True, False)]
            found["rates"][f"{optimizer} {'cosine' if cosine else 'linear'}"] = both
    for optimizer in ("AdamW", "MuSGD"):
        whole = trained(folder / optimizer, data_yaml, optimizer)
        kept = folder / optimizer / "checkpoints"
        for beyond in kept.glob("epoch-0002.*"):
            beyond.unlink()
        resumed = trained(folder / f"{optimizer}-resumed", data_yaml, optimizer, checkpoints=kept, resume=1)
        found["trained"][optimizer] = [whole, resumed]
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
