"""Every family of networks trains, exports, and gives the same from the file as from the checkpoint."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sightline.datasets.synthetic import draw
from sightline.documents import ExportDocument, ValidateDocument, read
from tests.helpers.export_stage import run_stage
from tests.helpers.networks import OWN

pytestmark = [pytest.mark.slow, pytest.mark.e2e]
# One epoch of 64 pixels, enough to find something.
SETS = ("epochs=1", "image_size=64", "batch=8", "nominal_batch=8", "lr0=0.004", "warmup_epochs=0", "workers=0")
OPTIONS = [text for value in (*SETS, "augment.mosaic=0") for text in ("--set", f"train.{value}")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("drawn"))


def staged(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sightline", *command, "--run", "run"],
        cwd=folder, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


def trained(folder: Path, data: Path, weights: str, *options: str) -> None:
    """Validate and train in `folder`; its working directory is that of the engine too."""
    for command in (("validate", "--data", str(data), "--weights", weights, *OPTIONS, *options), ("train",)):
        done = staged(folder, *command)
        assert done.returncode == 0, done.stderr


def exported(folder: Path) -> ExportDocument:
    done = staged(folder, "export")
    assert done.returncode == 0, done.stderr
    document = read(ExportDocument, folder / "run" / "export")
    assert document.parity.passed
    assert document.parity.matched >= 8
    assert document.parity.max_abs_diff < 0.01
    return document


@pytest.mark.parametrize(
    "name", ["yolov5n", "yolov8n", "yolov9t", "yolo11n", "yolo12n", "yolov8n-p2", "yolov5n-p6", "yolov8n-ghost"]
)
def test_a_family_trains_exports_and_passes_parity(data: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.yaml").write_text("a file beside that is not the engine's")
    trained(tmp_path, data, f"{name}.yaml")
    document = exported(tmp_path)
    assert (document.architecture, document.head, document.image_size) == (name, "anchors", 64)


@pytest.mark.parametrize("name", ["yolov10n", "yolo26n", "yolo26n-p6"])
def test_a_family_with_a_one_to_one_head_ships_either(data: Path, tmp_path: Path, name: str) -> None:
    trained(tmp_path, data, f"{name}.yaml")
    assert exported(tmp_path).head == "anchors"
    snapshot = read(ValidateDocument, tmp_path / "run" / "validate").snapshot
    done = run_stage(tmp_path / "run" / "train", snapshot, tmp_path / "without", nms_free=True)
    assert done.returncode == 0, done.stderr
    document = read(ExportDocument, tmp_path / "without")
    assert (document.architecture, document.head) == (name, "nms-free")
    assert document.parity.passed
    assert document.parity.matched >= 8


def test_a_network_of_ones_own_trains_exports_and_passes_parity(data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine-yolo11s.yaml").write_text(OWN)
    more = ("--set", "train.epochs=3", "--set", "train.lr0=0.02")  # its levels are finer: their scores begin lower
    trained(tmp_path, data, "mine-yolo11s.yaml", "--trust-weights", *more)
    document = exported(tmp_path)
    digest = read(ValidateDocument, tmp_path / "run" / "validate").weights.sha256
    assert digest
    assert document.architecture == f"own-{digest[:12]}"
    assert document.size_bytes > 1_500_000  # of size s; n has a quarter of that


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[[-1, 3], 1, Concat", "[[-1, 0], 1, Concat"),
        ("nn.Upsample, [None, 2, nearest]", "nn.Upsample, [32, None, nearest]"),  # fits images of 256 pixels alone
    ],
)
def test_a_network_that_cannot_be_built_is_refused_before_the_first_epoch(
    data: Path, tmp_path: Path, old: str, new: str
) -> None:
    """Its layers are known, and do not fit together: only building it can tell."""
    (tmp_path / "mine-yolo11n.yaml").write_text(OWN.replace(old, new))
    done = staged(
        tmp_path, "validate", "--data", str(data), "--weights", "mine-yolo11n.yaml", "--trust-weights", *OPTIONS
    )
    assert done.returncode == 0, done.stderr
    done = staged(tmp_path, "train")
    assert done.returncode == 2
    assert "the network cannot be built: RuntimeError: Sizes of tensors must match" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run" / "train" / "train.json").exists()
