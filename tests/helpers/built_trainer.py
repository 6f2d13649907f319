"""Trainers that are set up and do not train: what the engine made of settings, in a process that prepared it.

`look` starts this module once for many settings: a JSON list of them on standard input, a list of facts on its last
line of output.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sightline.config.assignments import apply
from sightline.config.presets import quickstart
from sightline.datasets.synthetic import CLASSES, draw

ROOT = Path(__file__).parents[2]
IMAGES = {"train": 24, "val": 8}
STRANGE = (".npy", ".cache")  # what the engine would leave beside images and labels
BASE = {"train.epochs": 4, "train.image_size": 64, "train.batch": 8, "train.nominal_batch": 8}


class Trap:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.path),)


def small(folder: Path) -> Path:
    """Draw a set of a few images, a third of them half as high, and return its data.yaml."""
    draw(folder)
    for split, count in IMAGES.items():
        for path in sorted((folder / "images" / split).iterdir())[count:]:
            path.unlink()
            (folder / "labels" / split / f"{path.stem}.txt").unlink()
        for path in sorted((folder / "images" / split).iterdir())[::3]:
            with Image.open(path) as image:
                flat = image.resize((image.width, image.height // 2))  # labels are fractions of it
            flat.save(path)
    with (folder / "labels" / "train.cache").open("wb") as file:  # where the engine would load it
        np.save(file, np.array(Trap(str(folder / "sprung")), dtype=object))
    return folder / "data.yaml"


def look(folder: Path, cases: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what the engine made of each case's settings, with an untrained yolo11n.

    Cases that set `train.cls_remap` start from a checkpoint that has the same classes in another order.
    """
    asked = [
        {
            "config": apply(quickstart(), {**BASE, **values}).train.model_dump(),
            "folder": str(folder / f"case-{number}"),
            "permuted": "train.cls_remap" in values,
        }
        for number, values in enumerate(cases.values())
    ]
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.built_trainer", str(small(folder / "drawn"))],
        input=json.dumps(asked),
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:] + done.stdout[-2000:]
    return dict(zip(cases, json.loads(done.stdout.splitlines()[-1]), strict=True))


def permuted(path: Path) -> str:
    """Leave a checkpoint that knows the drawn classes in another order; its class biases are 0, 1 and 2."""
    import torch
    from ultralytics.nn.tasks import DetectionModel

    model = DetectionModel("yolo11n.yaml", nc=len(CLASSES), verbose=False)
    model.names = dict(enumerate(reversed(CLASSES)))
    with torch.no_grad():
        for branch in model.model[-1].cv3:
            branch[-1].bias.copy_(torch.arange(len(CLASSES)))
    torch.save({"model": model}, path)
    return str(path)


def facts(trainer: Any) -> dict[str, Any]:
    """Return what can be seen of a trainer that is set up."""
    import torch
    from ultralytics.data.augment import CutMix, Format, Mosaic, RandomPerspective

    from sightline.train.engine import loop, optimizer

    dataset, folder = trainer.train_loader.dataset, Path(trainer.job.cache)
    inside = list(_flat(dataset.transforms))
    found = {
        type(item).__name__: vars(item) for item in inside if isinstance(item, CutMix | Mosaic | RandomPerspective)
    }
    shapes, orders, pixels = [], [], hashlib.sha256()
    for _ in range(2):
        batches = list(trainer.train_loader)
        for seen in batches:
            pixels.update(seen["img"].numpy().tobytes() + seen["bboxes"].numpy().tobytes())
        shapes.append([list(batch["img"].shape[2:]) for batch in batches])
        orders.append([Path(path).stem for batch in batches for path in batch["im_file"]])
    trainer.train_loader.batch_sampler.sampler.epoch = 0
    batch = next(iter(trainer.train_loader))
    sizes = [trainer.preprocess_batch({"img": batch["img"].clone()})["img"].shape[2:] for _ in range(12)]
    epochs = loop.Epochs(trainer)
    rates = []
    for count in (0, epochs.warmup):
        optimizer.warm_up(epochs, count, 0)
        rates.append({_name(group): group["lr"] for group in trainer.optimizer.param_groups})
        rates[-1]["momentum"] = trainer.optimizer.param_groups[0].get("momentum")
    torch.manual_seed(0)
    loss, items = trainer.model(trainer.preprocess_batch(batch))
    before = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
    trainer.scaler.scale(loss.sum()).backward()
    trainer.optimizer_step()
    moved = {name for name, value in trainer.model.named_parameters() if not torch.equal(value, before[name])}
    weights = getattr(trainer.model, "class_weights", None)
    return {
        "optimizer": type(trainer.optimizer).__name__,
        "betas": trainer.optimizer.param_groups[0].get("betas"),
        "used": optimizer.used(trainer),
        "warm_up": rates,
        "affine": {name: found["RandomPerspective"][name] for name in ("degrees", "shear", "perspective")},
        "mixes": {"cutmix": found["CutMix"]["p"], "mosaic": found["Mosaic"]["p"]},
        "bgr": next(item.bgr for item in inside if isinstance(item, Format)),
        "sizes": sorted({tuple(size) for size in sizes}),
        "losses": {name: float(value) for name, value in items.items()},
        "class_weights": None if weights is None else weights.tolist(),
        "class_counts": trainer.get_class_counts().tolist(),
        "pixels": pixels.hexdigest(),
        "kept": sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()),
        "beside": [path.name for path in Path(dataset.im_files[0]).parents[2].rglob("*") if path.suffix in STRANGE],
        "sprung": (Path(dataset.im_files[0]).parents[2] / "sprung").exists(),
        "in_memory": isinstance(dataset.ims, dataset._ImageCache),
        "shapes": shapes,
        "orders": orders,
        "moved": sorted(moved),
        "still": sorted(before.keys() - moved),
        "val": {name: getattr(trainer.validator.args, name) for name in ("agnostic_nms", "conf", "iou", "max_det")},
        "rows": before["model.23.cv3.0.2.bias"].tolist(),
        "names": trainer.model.names,
        "patience": str(trainer.stopper.patience),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def _name(group: dict[str, Any]) -> str:
    return str(group["param_group"])


def _flat(transforms: Any) -> Any:
    for item in transforms.transforms:
        yield from _flat(item) if hasattr(item, "transforms") and type(item).__name__ == "Compose" else [item]


def main(data_yaml: Path) -> None:
    """Build a trainer for each case on standard input, and print what it is made of."""
    from sightline import ultralytics_env
    from sightline.config import TrainConfig
    from sightline.train import decisions, job
    from sightline.train.engine.beat import Beat
    from sightline.train.engine.trainer import trainer_class

    ultralytics_env.prepare()
    kind, found = trainer_class(), []
    for case in json.load(sys.stdin):
        config, folder = TrainConfig.model_validate(case["config"]), Path(case["folder"])
        model = permuted(data_yaml.with_name("permuted.pt")) if case["permuted"] else "yolo11n.yaml"
        path = job.prepare(
            folder, "0" * 64, "0" * 64, config, decisions.first(config), data_yaml, model,
            checkpoints=folder / "checkpoints", cache=folder / "cache" / ("0" * 64), resume=None,
        )  # fmt: skip
        trainer = kind(job.read(path), Beat(folder, 0))
        trainer._setup_train()
        trainer._model_train()
        found.append(facts(trainer))
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
