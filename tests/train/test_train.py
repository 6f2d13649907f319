"""Training in its own right: several processes, starting weights, and faults that are named."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sightline.config import single_image_batch
from sightline.datasets.synthetic import draw
from sightline.documents import Epoch, TrainDocument, read
from sightline.train import divergence, history
from sightline.train.engine.trainer import unfit
from tests.helpers.epochs import MEASURED

pytestmark = pytest.mark.timeout(300)
SMALL = ["train.epochs=2", "train.image_size=64", "train.batch=16", "train.augment.mosaic=0"]
OPTIONS = [text for value in SMALL for text in ("--set", value)]


def test_two_processes_on_the_cpu_train_together(command: Callable, tmp_path: Path) -> None:
    draw(tmp_path / "data")
    done = command("validate", "--data", "data", "--weights", "yolo11n.yaml", "--run", "run", *OPTIONS, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    values = ["train.cpu_processes=2", "train.llrd=on"]
    options = [text for value in values for text in ("--set", value)]
    done = command("train", "--run", "run", *options, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = read(TrainDocument, tmp_path / "run" / "train")
    log = (tmp_path / "run" / "train" / "train.log").read_text()
    assert json.loads(done.stdout) == document.model_dump(mode="json")
    assert (document.world_size, document.device, document.epochs_completed) == (2, "cpu", 2)
    assert [attempt.exit_code for attempt in document.attempts] == [0]
    assert document.sizing
    assert (document.sizing.tier, document.sizing.batch, document.sizing.effective_batch) == ("cpu", 16, 16)
    assert document.attempts[0].settings
    assert document.sizing.workers == document.attempts[0].settings.workers <= document.config.workers
    assert (document.precision.asked, document.precision.used, document.precision.check) == ("auto", "off", None)
    assert document.layer_rates
    assert [layer.rate for layer in document.layer_rates[:2]] == pytest.approx([0.001 * 0.9**23, 0.001 * 0.9**22])
    # Each process takes half of the 144 images in batches of 8: nine steps an epoch, and both end with equal weights.
    assert "process 0 of 2: 9 batches an epoch" in log
    assert "process 1 of 2: 9 batches an epoch" in log
    digests = {line.split()[-1] for line in log.splitlines() if "ends with weights" in line}
    assert log.count("ends with weights") == 2
    assert len(digests) == 1
    assert (tmp_path / "run" / "train" / "last.pt").stat().st_size > (
        tmp_path / "run" / "train" / "best.pt"
    ).stat().st_size


def test_gpus_that_are_not_there_are_refused_before_torch_starts(command: Callable, tmp_path: Path) -> None:
    draw(tmp_path / "data")
    command("validate", "--data", "data", "--weights", "yolo11n.yaml", "--run", "run", cwd=tmp_path)
    done = command("train", "--run", "run", "--set", "train.gpus=16", cwd=tmp_path)
    assert done.returncode == 2
    assert "train.gpus: got 16" in done.stderr
    assert not (tmp_path / "run" / "train" / "train.json").exists()


def test_damaged_weights_in_the_store_are_not_loaded(command: Callable, tmp_path: Path, shared: Path) -> None:
    draw(tmp_path / "data")
    weights = str(shared / "weights" / "yolo11n.pt")
    command("validate", "--data", "data", "--weights", weights, "--run", "run", *OPTIONS, cwd=tmp_path)
    [stored] = (tmp_path / "store" / "weights").iterdir()
    data = bytearray(stored.read_bytes())
    data[1000] ^= 1
    stored.write_bytes(data)
    done = command("train", "--run", "run", cwd=tmp_path)
    assert done.returncode == 1
    assert "sha256" in done.stderr
    assert not (tmp_path / "run" / "train" / "train.json").exists()


def test_a_network_that_cannot_follow_its_settings_is_refused_before_an_epoch(
    command: Callable, tmp_path: Path
) -> None:
    draw(tmp_path / "data")
    command("validate", "--data", "data", "--weights", "yolo11n.yaml", "--run", "run", *OPTIONS, cwd=tmp_path)
    done = command("train", "--run", "run", "--set", "train.freeze=24", cwd=tmp_path)
    assert done.returncode == 2
    assert "train.freeze: got 24, but the network has 24 layers; expected at most 23" in done.stderr
    assert "Traceback" not in done.stderr
    assert "epoch 1" not in (tmp_path / "run" / "train" / "train.log").read_text()


def test_a_part_that_the_network_does_not_have_is_refused_before_an_epoch(command: Callable, tmp_path: Path) -> None:
    draw(tmp_path / "data")
    command("validate", "--data", "data", "--weights", "yolo11n.yaml", "--run", "run", *OPTIONS, cwd=tmp_path)
    done = command("train", "--run", "run", "--set", "train.freeze=[0, 23.cv9]", cwd=tmp_path)
    assert done.returncode == 2
    assert "train.freeze: '23.cv9' fits no parameter of the network; did you mean '23.cv" in done.stderr
    assert "epoch 1" not in (tmp_path / "run" / "train" / "train.log").read_text()


def test_an_image_size_is_a_multiple_of_the_networks_own_stride() -> None:
    class Network:  # as the engine describes one of six levels
        model = tuple(range(30))
        stride = (8.0, 16.0, 32.0, 64.0)

        @staticmethod
        def named_parameters() -> Iterator[tuple[str, None]]:
            for layer in range(30):
                yield f"model.{layer}.conv.weight", None

    assert unfit(Network, 29, 640) == []
    assert unfit(Network, 0, 96) == ["train.image_size: got 96, expected a multiple of this network's stride, 64"]


def test_a_last_batch_of_one_small_image_is_refused_in_validate_and_in_train(command: Callable, tmp_path: Path) -> None:
    draw(tmp_path / "data")
    lone = ["--set", "train.image_size=32", "--set", "train.batch=11"]  # of 144 images
    words = "train.image_size: got 32 with train.batch 11, which leaves a single image for the last batch"
    start = ["validate", "--data", "data", "--weights", "yolo11n.yaml", "--run"]
    done = command(*start, "lone", *OPTIONS, *lone, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert not (tmp_path / "lone" / "validate" / "validate.json").exists()
    command(*start, "run", *OPTIONS, cwd=tmp_path)
    done = command("train", "--run", "run", *lone, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert single_image_batch(64, 1, 64) != []  # a network of six levels
    assert single_image_batch(64, 1) == []


@pytest.mark.slow
def test_a_training_that_diverges_fails_and_names_the_learning_rate(command: Callable, tmp_path: Path) -> None:
    draw(tmp_path / "data")
    wild = ["train.lr0=1", "train.optimizer=SGD", "train.momentum=0.99", "train.batch=8", "train.nominal_batch=8"]
    options = [text for value in (*wild, "train.warmup_epochs=1") for text in ("--set", value)]
    command("validate", "--data", "data", "--weights", "yolo11n.yaml", "--run", "run", *OPTIONS, *options, cwd=tmp_path)
    done = command("train", "--run", "run", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "train.lr0: got 1 with SGD and train.momentum 0.99, and the training diverged" in done.stderr
    assert "Lower train.lr0" in done.stderr
    assert sorted(path.name for path in (tmp_path / "run" / "train").iterdir()) == ["train.log"]


@pytest.mark.parametrize(
    ("losses", "val", "map50", "diverged"),
    [
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 0.0, True),
        ((None, None, None), (None, None, None), 0.0, True),
        ((2.2, 4.8, 2.1), (0.0, 0.0, 0.0), 0.0, True),
        ((0.0, 0.00006, 0.0), (3.0, 4.0, 4.0), 0.0, False),
        ((3.9, 4.8, 4.1), (3.0, 4.0, 4.0), 0.0, False),  # learned too little
        ((3.9, 4.8, 4.1), (None, None, None), 0.0, False),  # val overflows in mixed precision
        ((None, None, None), (None, None, None), 0.3, False),  # one batch of the epoch was no number
    ],
)
def test_only_a_training_without_anything_to_learn_from_has_diverged(
    losses: tuple[float | None, ...], val: tuple[float | None, ...], map50: float, diverged: bool
) -> None:
    names = ("box_loss", "class_loss", "dfl_loss")
    values = {**dict(zip(names, losses, strict=True)), **{f"val_{n}": v for n, v in zip(names, val, strict=True)}}
    epoch = Epoch(
        epoch=1,
        seconds=1,
        learning_rate=0.1,
        precision=0,
        recall=0,
        map50=map50,
        map50_95=0,
        **dict(MEASURED),
        **values,
    )
    assert divergence.found_nothing(epoch) == diverged


def test_weights_that_a_checkpoint_cannot_hold_are_broken() -> None:
    code = (
        "import torch\n"
        "from sightline.train.divergence import are_broken\n"
        "for value in (1.0, 65000.0, 65504.0, -1e9, float('nan'), float('inf')):\n"
        "    weights = torch.ones(3)\n"
        "    weights[1] = value\n"
        "    print(are_broken({'count': torch.tensor(99999), 'weight': weights}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "False", "True", "True", "True", "True"]


def test_engine_that_stops_is_quoted(command: Callable, tmp_path: Path, shared: Path) -> None:
    """A checkpoint cut short after its digest was pinned to the cut file: the engine cannot load it."""
    draw(tmp_path / "data")
    command("validate", "--data", "data", "--weights", "yolo11n.yaml", "--run", "run", *OPTIONS, cwd=tmp_path)
    document = json.loads((tmp_path / "run" / "validate" / "validate.json").read_text())
    document["weights"]["reference"] = {"architecture": "yolo99n.yaml"}
    (tmp_path / "run" / "validate" / "validate.json").write_text(json.dumps(document))
    done = command("train", "--run", "run", cwd=tmp_path)
    assert done.returncode == 1
    assert "Training stopped before its last epoch: FileNotFoundError" in done.stderr
    assert "train.log" in done.stderr
    assert "Traceback" not in done.stderr


def test_rows_of_the_engine_become_epochs_with_what_they_took() -> None:
    row = {"epoch": 1.0, "time": 10.5, "train/box_loss": 3.0, "lr/pg0": 0.001, "metrics/mAP50(B)": 0.3}
    rows = [row | {"val/box_loss": None}, row | {"epoch": 2.0, "time": 19.0, "val/box_loss": 2.1}]
    first, second = history.epochs(rows, [MEASURED] * 2)
    assert (first.epoch, first.seconds, first.map50, first.val_box_loss) == (1, 10.5, 0.3, None)
    assert (second.epoch, second.seconds, second.val_box_loss, second.images_per_second) == (2, 8.5, 2.1, 40.0)
    assert second.spent.total == pytest.approx(second.seconds)


@pytest.mark.slow
def test_the_document_has_what_auto_chose(command: Callable, tmp_path: Path) -> None:
    draw(tmp_path / "data")
    asked = [
        "train.optimizer=auto",
        "train.multi_scale=0.5",
        "train.class_weight_power=0.5",
        "train.augment.cutmix=0.5",
    ]
    options = [text for value in (*asked, "train.epochs=1") for text in ("--set", value)]
    command("validate", "--data", "data", "--weights", "yolo11n.yaml", "--run", "run", *OPTIONS, *options, cwd=tmp_path)
    done = command("train", "--run", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = read(TrainDocument, tmp_path / "run" / "train")
    assert document.config.optimizer == "auto"
    assert (document.optimizer.name, document.optimizer.lr0, document.optimizer.momentum) == ("AdamW", 0.001429, 0.9)


@pytest.mark.slow
def test_rect_trains_on_one_shape_a_batch_and_the_document_says_what_it_ended(
    command: Callable, tmp_path: Path
) -> None:
    draw(tmp_path / "data")
    options = [
        text for value in ("train.rect=true", "train.freeze=[0, 1]", "train.epochs=1") for text in ("--set", value)
    ]
    rest = [*OPTIONS[:-2], *options]  # all but the mosaic
    command("validate", "--data", "data", "--weights", "yolo11n.yaml", "--run", "run", *rest, cwd=tmp_path)
    done = command("train", "--run", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = read(TrainDocument, tmp_path / "run" / "train")
    assert document.config.augment.mosaic == 0
    assert "without shuffling, mosaic, mixup and cutmix" in document.notes[0]


def test_a_training_ends_with_the_epoch_in_which_its_time_is_over(command: Callable, tmp_path: Path) -> None:
    draw(tmp_path / "data")
    command("validate", "--data", "data", "--weights", "yolo11n.yaml", "--run", "run", *OPTIONS, cwd=tmp_path)
    done = command("train", "--run", "run", "--set", "train.max_hours=0.0001", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = read(TrainDocument, tmp_path / "run" / "train")
    assert (document.stopped_by, document.cut_short, document.epochs_completed) == ("max_hours", True, 1)
    assert document.notes == [
        "train.max_hours: 0.0001 hours were over after epoch 1 of 2, before the learning rate had fallen to its end. "
        "This model stands for no other training."
    ]
