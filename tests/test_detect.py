"""The runtime that ships: equal to the training engine, honest about files and devices it cannot use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from sightline.detect import Contract, Detections, Detector, cuda_devices, preprocess, read_image, unletterbox
from sightline.errors import DataError, DeviceError, ModelFileError
from sightline.matching import iou_matrix

from .conftest import Finished

ROOT = Path(__file__).parents[1]


def by_engine(weights: Path, size: int, confidence: float, nms_free: bool, images: list[Path]) -> list[np.ndarray]:
    command = [sys.executable, "-m", "tests.engine", "predict", str(weights), str(size), str(confidence), str(nms_free)]
    done = subprocess.run(
        [*command, *map(str, images)], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    rows = json.loads(done.stdout.splitlines()[-1])
    return [np.array(image, np.float64).reshape(-1, 6) for image in rows]


def assert_same(ours: list[Detections], theirs: list[np.ndarray], confidence: float) -> int:
    """Every detection has its twin, except where rounding decides on which side of the threshold it falls."""
    twins = 0
    for found, rows in zip(ours, theirs, strict=True):
        same = (
            (iou_matrix(found.boxes, rows[:, :4]) > 0.99)
            & (found.classes[:, None] == rows[None, :, 5])
            & (np.abs(found.scores[:, None] - rows[None, :, 4]) < 2e-3)
        )
        assert same.any(axis=1)[found.scores > confidence + 2e-3].all()
        assert same.any(axis=0)[rows[:, 4] > confidence + 2e-3].all()
        assert abs(len(found) - len(rows)) <= 1
        twins += int(same.any(axis=1).sum())
    return twins


def test_equals_the_engine_on_the_trained_checkpoint(quickstart: Finished) -> None:
    images = sorted((quickstart.folder.parents[1] / "cache").rglob("images/test/*.png"))[:16]
    detector = Detector(quickstart.folder / "export" / "model.onnx", device="cpu")
    theirs = by_engine(quickstart.folder / "train" / "best.pt", 160, detector.confidence, False, images)
    assert assert_same(detector(images), theirs, detector.confidence) > 100


@pytest.mark.parametrize("nms_free", [False, True])
def test_equals_the_engine_on_photographs_with_each_head(shared: Path, tmp_path: Path, nms_free: bool) -> None:
    """Official weights, images of every shape: letterboxing up and down, 80 classes, both output layouts."""
    weights = shared / "weights" / ("yolo26n.pt" if nms_free else "yolo11n.pt")
    images = sorted((shared / "data" / "voc100-multiformat" / "images").glob("*.jpg"))[:12]
    command = [sys.executable, "-m", "tests.export.write", str(weights), str(nms_free), str(tmp_path / "model.onnx")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    detector = Detector(tmp_path / "model.onnx", device="cpu", confidence=0.25)
    assert detector.contract.head == ("nms-free" if nms_free else "anchors")
    twins = assert_same(detector(images), by_engine(weights, 320, 0.25, nms_free, images), 0.25)
    assert twins > 20


def test_arrays_paths_and_batches_give_the_same(quickstart: Finished) -> None:
    images = sorted((quickstart.folder.parents[1] / "cache").rglob("images/test/*.png"))[:5]
    detector = Detector(quickstart.folder / "export" / "model.onnx")
    whole = detector(images)
    single = [next(detector.stream([read_image(path)], batch=1)) for path in images]
    for a, b in zip(whole, single, strict=True):
        assert a.boxes == pytest.approx(b.boxes, abs=1e-3)
        assert a.finding() == b.finding()


@pytest.mark.parametrize(("height", "width"), [(480, 640), (640, 480), (33, 500), (160, 160), (1, 3000)])
def test_letterbox_maps_back_to_original_pixels(height: int, width: int) -> None:
    size = 160
    image = np.zeros((height, width, 3), np.uint8)
    image[:] = (10, 20, 30)
    planes = preprocess(image, size)
    assert planes.shape == (3, size, size)
    inside = np.argwhere(np.abs(planes[0] - 30 / 255) < 1e-6)
    (top, left), (bottom, right) = inside.min(axis=0), inside.max(axis=0) + 1
    box = np.array([[left, top, right, bottom]], np.float32)
    assert unletterbox(box, size, height, width)[0] == pytest.approx(
        [0, 0, width, height], abs=max(height, width) / size
    )
    assert np.unique(planes[0][:top]).tolist() in ([], [pytest.approx(114 / 255)])


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    from PIL import Image

    picture = Image.new("RGB", (40, 20))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (40, 20, 3)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("nowhere.jpg", "No such file"),
        ("text.jpg", "is no image"),
        ("empty.jpg", "is no image"),
        (np.zeros((4, 4), np.uint8), "expected \\(h, w, 3\\) uint8 BGR"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
    ],
)
def test_bad_images_are_named(image: str | np.ndarray, words: str, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DataError, match=words):
        read_image(tmp_path / image if isinstance(image, str) else image)


def test_file_without_contract_is_refused(quickstart: Finished, tmp_path: Path) -> None:
    model = onnx.load(quickstart.folder / "export" / "model.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    for name, words in (
        ("bare.onnx", "no Sightline contract"),
        ("text.onnx", "no ONNX model"),
        ("no.onnx", "not there"),
    ):
        with pytest.raises(ModelFileError, match=words):
            Detector(tmp_path / name)


def test_damaged_contract_is_refused() -> None:
    with pytest.raises(ModelFileError, match="damaged"):
        Contract.parse({"sightline": '{"classes": ["a"]}'}, "x.onnx")


@pytest.mark.skipif(cuda_devices() > 0, reason="this machine has a CUDA device")
def test_cuda_that_is_not_there_is_an_error_only_when_asked_for(quickstart: Finished) -> None:
    model = quickstart.folder / "export" / "model.onnx"
    assert Detector(model, device="auto").provider == "CPUExecutionProvider"
    with pytest.raises(DeviceError, match="got cuda"):
        Detector(model, device="cuda")


def test_runs_with_numpy_opencv_and_onnxruntime_alone(quickstart: Finished) -> None:
    code = (
        "import sys\n"
        "from sightline.detect import Detector\n"
        "print(Detector(sys.argv[1])([sys.argv[2]])[0].finding())\n"
        "heavy = {'torch', 'ultralytics', 'mlflow', 'kfp', 'pydantic', 'faster_coco_eval', 'minio', 'yaml'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    image = next((quickstart.folder.parents[1] / "cache").rglob("images/test/*.png"))
    done = subprocess.run(
        [sys.executable, "-c", code, str(quickstart.folder / "export" / "model.onnx"), str(image)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_finding_says_what_there_is() -> None:
    found = Detections(np.zeros((3, 4), np.float32), np.ones(3, np.float32), np.array([1, 0, 1]), ("a", "b"))
    assert found.finding() == "2 b, 1 a"
    assert found.above(1.0).finding() == "No findings"


def test_opencv_suppression_keeps_what_overlaps_up_to_the_threshold() -> None:
    """Two boxes of IoU 0.5, and one of another class in the same place."""
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 10]], np.float32)
    scores, classes = np.array([0.9, 0.8, 0.7], np.float32), np.array([0, 0, 1])
    kept = [
        sorted(np.ravel(cv2.dnn.NMSBoxesBatched(boxes, scores, classes, 0.1, iou)).tolist()) for iou in (0.45, 0.55)
    ]
    assert kept == [[0, 2], [0, 1, 2]]
