"""What the processes of `test_precision.py` run: two processes that agree on a type, as ranks of one group (gloo)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.helpers import small_training
from tests.helpers.built_trainer import small
from tests.helpers.computed_types import computing_wrongly, digest, trainer

RANK = int(os.environ.get("RANK", 0))
VALUES = {"train.epochs": 1, "train.cpu_processes": 2}
# The type that each process' card would compute in, and what is done to the network of the first.
CASES: dict[str, tuple[tuple[str, str], Any]] = {
    "equal cards": (("bf16", "bf16"), None),
    "another card": (("bf16", "fp16"), None),
    "a card without": (("off", "bf16"), None),
    "failed": (("bf16", "bf16"), computing_wrongly),
}


def main(folder: Path) -> None:
    """Set up a trainer for each case, and train with the first."""
    found: dict[str, Any] = {}
    for number, (case, (kinds, change)) in enumerate(CASES.items()):
        path = folder / f"case-{number}" / "job.json"
        it = trainer(path, kinds[RANK], change=change if RANK == 0 else None)
        if number:  # the group is there
            it._setup_train()
        else:
            it.train()
        wrapped = type(it.model).__name__
        found[case] = {
            **it.precision.model_dump(mode="json"),
            "scaler": it.scaler.is_enabled(),
            "wrapped": wrapped,
            "digest": digest(dict(it.model.module.named_parameters())),
        }
    (folder / f"found-{RANK}.json").write_text(json.dumps(found))


def prepare(folder: Path) -> None:
    """Draw images, and write the job of each case."""
    data_yaml = small(folder / "drawn")
    for number in range(len(CASES)):
        small_training.prepared(folder / f"case-{number}", data_yaml, VALUES)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
