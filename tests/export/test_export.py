"""Export through the stage: every family passes, equal weights give equal bytes, and a difference is caught."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from sightline.config import DataConfig, RunConfig, TrainConfig, WeightsConfig
from sightline.documents import ExportDocument, read
from sightline.storage import sha256_file
from sightline.validate import run as validate
from tests.helpers import documents
from tests.helpers.export_stage import run_stage
from tests.helpers.finished_run import Finished

pytestmark = pytest.mark.timeout(300)


# Class names of PASCAL VOC as COCO, on which the official checkpoints were trained, spells them.
COCO_NAME = {
    **{"aeroplane": "airplane", "diningtable": "dining table", "motorbike": "motorcycle"},
    **{"pottedplant": "potted plant", "sofa": "couch", "tvmonitor": "tv"},
}


@pytest.fixture(scope="module")
def photographs(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Snapshot of photographs labelled with the 80 classes of the official checkpoints."""
    source = shared / "data" / "voc100-multiformat"
    folder = tmp_path_factory.mktemp("photographs")
    names = Path(__file__).with_name("coco80.txt").read_text().split("\n")[:80]
    truth = json.loads((source / "gts" / "coco_format_v2" / "instances_v2.json").read_text())
    category = {c["id"]: names.index(COCO_NAME.get(c["name"], c["name"])) for c in truth["categories"]}
    for index, image in enumerate(truth["images"][:48]):
        split = ("train", "val", "val", "test")[index % 4]
        for kind in ("images", "labels"):
            (folder / split / kind).mkdir(parents=True, exist_ok=True)
        shutil.copy(source / "images" / image["file_name"], folder / split / "images")
        lines = [
            f"{category[a['category_id']]} {(x + w / 2) / image['width']} {(y + h / 2) / image['height']} "
            f"{w / image['width']} {h / image['height']}\n"
            for a in truth["annotations"]
            if a["image_id"] == image["id"]
            for x, y, w, h in [a["bbox"]]
        ]
        (folder / split / "labels" / image["file_name"].replace(".jpg", ".txt")).write_text("".join(lines))
    lines = [f"{split}: {split}/images\n" for split in ("train", "val", "test")]
    (folder / "data.yaml").write_text("".join(lines) + f"names: {json.dumps(names)}\n")
    config = RunConfig(weights=WeightsConfig(source="yolo11n.yaml"), data=DataConfig(format="yolo"))
    out = tmp_path_factory.mktemp("validated")
    return validate(source=str(folder), config=config, out=out, store=f"file://{out}/store").snapshot


def finished_training(checkpoint: Path, folder: Path, snapshot: str, size: int) -> Path:
    """A train folder around a checkpoint from elsewhere."""
    folder.mkdir()
    shutil.copy(checkpoint, folder / "best.pt")
    document = documents.train(epochs=1).model_copy(
        update={
            "snapshot": snapshot,
            "config": TrainConfig(image_size=size),
            "checkpoint": "best.pt",
            "checkpoint_sha256": sha256_file(checkpoint),
        }
    )
    document.write(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "nms_free"), [("yolov8n.pt", False), ("yolo11n.pt", False), ("yolo26n.pt", False), ("yolo26n.pt", True)]
)
def test_family_passes_on_photographs(
    shared: Path, photographs: str, tmp_path: Path, name: str, nms_free: bool
) -> None:
    train = finished_training(shared / "weights" / name, tmp_path / "train", photographs, 320)
    done = run_stage(train, photographs, tmp_path / "export", nms_free=nms_free, max_det=100 if nms_free else 300)
    assert done.returncode == 0, done.stderr
    document = read(ExportDocument, tmp_path / "export")
    assert document.parity.passed
    assert document.parity.matched >= 20
    assert document.parity.unmatched == 0
    assert document.parity.max_abs_diff < 0.01
    assert document.confidence_f1 > 0.4
    assert document.head == ("nms-free" if nms_free else "anchors")
    assert document.opset == 18
    model = onnx.load(tmp_path / "export" / "model.onnx")
    assert [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [
        *("batch", 3, "height", "width")
    ]


def test_same_checkpoint_gives_the_same_bytes_without_dates_or_paths(
    quickstart: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(quickstart.folder.parents[1] / "cache"))
    snapshot = quickstart.summary["data"]["snapshot"]
    done = run_stage(quickstart.folder / "train", snapshot, tmp_path / "elsewhere" / "export")
    assert done.returncode == 0, done.stderr
    first, second = quickstart.folder / "export" / "model.onnx", tmp_path / "elsewhere" / "export" / "model.onnx"
    assert first.read_bytes() == second.read_bytes()
    for text in (b"/tmp", b"20260", b"2026-", os.fsencode(tmp_path.anchor + "root")):
        assert text not in b"".join(p.value.encode() for p in onnx.load(first).metadata_props)


def test_nms_free_head_of_a_family_without_one_is_refused(
    quickstart: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(quickstart.folder.parents[1] / "cache"))
    snapshot = quickstart.summary["data"]["snapshot"]
    done = run_stage(quickstart.folder / "train", snapshot, tmp_path / "export", nms_free=True)
    assert done.returncode == 1
    assert "only yolov10 and yolo26 have one" in done.stderr
    assert not (tmp_path / "export").exists()


def output_through(model: onnx.ModelProto, operator: str, **constants: np.ndarray) -> onnx.ModelProto:
    """Send a file's output through one more operator."""
    output = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["before" if name == output else name for name in node.output]
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    options = {"axis": 1} if operator == "Gather" else {}
    model.graph.node.append(onnx.helper.make_node(operator, ["before", *constants], [output], **options))
    return model


def turned(model: onnx.ModelProto) -> onnx.ModelProto:
    """One weight is a little larger."""
    weights = max(model.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(1.2), weights.name))
    return model


def shifted(model: onnx.ModelProto) -> onnx.ModelProto:
    """All boxes lie 4 pixels to the right."""
    return output_through(model, "Add", shift=np.array([4, 0, 0, 0, 0, 0, 0], np.float32)[:, None])


def swapped(model: onnx.ModelProto) -> onnx.ModelProto:
    """Two classes have changed places."""
    return output_through(model, "Gather", places=np.array([0, 1, 2, 3, 5, 4, 6], np.int64))


@pytest.mark.parametrize("bias", [0, 8], ids=["as trained", "crowded below 1"])
def test_file_that_computes_something_else_fails_parity(quickstart: Finished, tmp_path: Path, bias: int) -> None:
    """Also where scores are all nearly 1: then they say little, and boxes and classes must."""
    source = quickstart.folder / "export" / "model.onnx"
    checkpoint = quickstart.folder / "train" / "best.pt"
    if bias:
        checkpoint, source = changed(checkpoint, tmp_path / "sure.pt", bias), tmp_path / "sure.onnx"
        options = (str(checkpoint), "False", str(source), "160", "0.9995")
        command = [sys.executable, "-m", "tests.helpers.onnx_writer", *options]
        subprocess.run(command, cwd=Path(__file__).parents[2], check=True, capture_output=True, timeout=120)
    files = [source]
    for change in (turned, shifted, swapped):
        files.append(tmp_path / f"{change.__name__}.onnx")
        onnx.save(change(onnx.load(source)), files[-1])
    images = sorted((quickstart.folder.parents[1] / "cache").rglob("images/test/*.png"))[:4]
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from sightline import ultralytics_env\n"
        "ultralytics_env.prepare()\n"
        "from sightline.detect import Detector, read_image\n"
        "from sightline.errors import ExportError\n"
        "from sightline.export import onnx_file, parity\n"
        "model = onnx_file.load_checkpoint(Path(sys.argv[1]))\n"
        "onnx_file.select_head(model, False)\n"
        "images = [read_image(path) for path in sys.argv[3:]]\n"
        "for file in sys.argv[2].split(','):\n"
        "    try:\n"
        "        shown = parity.check(model, Detector(file, device='cpu', confidence=0.001), images, 0.05)\n"
        "        print('passed', shown.matched)\n"
        "    except ExportError as error:\n"
        "        print(f'refused: {error}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(checkpoint), ",".join(map(str, files)), *map(str, images)],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    same, *others = done.stdout.splitlines()
    assert int(same.removeprefix("passed ")) > 20
    assert len(others) == 3
    for line in others:
        assert line.startswith("refused: The exported file does not compute what the checkpoint computes: raw outputs")
    for line in others[1:]:
        assert int(re.findall(r"; (\d+) of", line)[0]) > 20


def test_model_that_has_learned_nothing_shows_no_parity(
    quickstart: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that find nothing above the floor: agreement on nothing is no agreement."""
    monkeypatch.setenv("SIGHTLINE_CACHE", str(quickstart.folder.parents[1] / "cache"))
    code = (
        "import sys\n"
        "from sightline import ultralytics_env\n"
        "ultralytics_env.prepare()\n"
        "import torch\n"
        "from ultralytics.nn.tasks import DetectionModel\n"
        "torch.manual_seed(0)\n"
        "model = DetectionModel('yolov8n.yaml', nc=3, verbose=False)\n"
        "for branch in model.model[-1].cv3:\n"
        "    branch[-1].bias.data[:] = -12\n"
        "model.names, model.args = {0: 'a', 1: 'b', 2: 'c'}, {}\n"
        "torch.save({'model': model.half(), 'train_args': {}, 'epoch': -1}, sys.argv[1])\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "fresh.pt")], check=True, timeout=120)
    snapshot = quickstart.summary["data"]["snapshot"]
    train = finished_training(tmp_path / "fresh.pt", tmp_path / "train", snapshot, 160)
    done = run_stage(train, snapshot, tmp_path / "export")
    assert done.returncode == 1
    assert "ExportError: The checkpoint finds nothing above confidence 0.001" in done.stderr
    assert re.search(r"its highest score there: [0-9.]+e-0[56]", done.stderr)
    assert not (tmp_path / "export").exists()


CHANGE = (
    "import sys\n"
    "from sightline import ultralytics_env\n"
    "ultralytics_env.prepare()\n"
    "import torch\n"
    "saved = torch.load(sys.argv[1], map_location='cpu', weights_only=False)\n"
    "head = saved['model'].model[-1]\n"
    "for branch in head.cv3:\n"
    "    branch[-1].bias.data += float(sys.argv[3])\n"
    "torch.save(saved, sys.argv[2])\n"
)


def changed(checkpoint: Path, target: Path, bias: float) -> Path:
    """Write a checkpoint whose logits of all classes are raised by `bias`."""
    subprocess.run([sys.executable, "-c", CHANGE, str(checkpoint), str(target), str(bias)], check=True, timeout=120)
    return target


def test_a_confident_model_is_exported_at_a_point_between_its_scores(
    quickstart: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All scores are pressed against 1, as after a few epochs from pretrained weights: what was good stays as good."""
    monkeypatch.setenv("SIGHTLINE_CACHE", str(quickstart.folder.parents[1] / "cache"))
    snapshot = quickstart.summary["data"]["snapshot"]
    checkpoint = changed(quickstart.folder / "train" / "best.pt", tmp_path / "sure.pt", 8)
    done = run_stage(finished_training(checkpoint, tmp_path / "train", snapshot, 160), snapshot, tmp_path / "export")
    assert done.returncode == 0, done.stderr
    document = read(ExportDocument, tmp_path / "export")
    before = read(ExportDocument, quickstart.folder / "export")
    assert 0.998 < document.confidence < 1
    assert document.confidence_f1 == pytest.approx(before.confidence_f1, abs=0.02)
    assert document.parity.confidence == document.confidence
    assert document.parity.matched > 100
    assert document.parity.unmatched == 0
    assert document.f1_curve
    marked = document.f1_curve.x.index(document.confidence)
    assert document.f1_curve.y[marked] == pytest.approx(document.confidence_f1, abs=1e-4)
    assert max(document.f1_curve.y) <= document.confidence_f1 + 0.0011


def test_a_model_of_no_numbers_is_refused_with_that_reason(
    quickstart: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(quickstart.folder.parents[1] / "cache"))
    snapshot = quickstart.summary["data"]["snapshot"]
    checkpoint = changed(quickstart.folder / "train" / "best.pt", tmp_path / "nan.pt", float("nan"))
    done = run_stage(finished_training(checkpoint, tmp_path / "train", snapshot, 160), snapshot, tmp_path / "export")
    assert done.returncode == 1
    assert "The checkpoint gives outputs that are not numbers (NaN or infinite) on 16 of 16 val images" in done.stderr
    assert not (tmp_path / "export").exists()


def test_export_of_another_snapshot_is_refused(quickstart: Finished, tmp_path: Path) -> None:
    done = run_stage(quickstart.folder / "train", "file:///elsewhere/snapshots/" + "0" * 64, tmp_path / "export")
    assert done.returncode == 1
    assert "StageInputError" in done.stderr
    assert "Repeat the stages from train on" in done.stderr
