"""The runtime that ships: equal to the training engine, honest about files and devices it cannot use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from PIL import Image

from sightline.boxes import iou_matrix
from sightline.detect import Detections, Detector, cuda_devices
from sightline.errors import ConfigError, DataError, DeviceError, ModelFileError, SightlineError
from sightline.preprocess import read_image
from tests.helpers.finished_run import Finished

ROOT = Path(__file__).parents[1]


def by_engine(weights: Path, size: int, confidence: float, nms_free: bool, images: list[Path]) -> list[np.ndarray]:
    options = (str(weights), str(size), str(confidence), str(nms_free))
    command = [sys.executable, "-m", "tests.helpers.ultralytics", "predict", *options]
    done = subprocess.run(
        [*command, *map(str, images)], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    rows = json.loads(done.stdout.splitlines()[-1])
    return [np.array(image, np.float64).reshape(-1, 6) for image in rows]


def assert_same(ours: list[Detections], theirs: list[np.ndarray], confidence: float) -> int:
    """Every detection has its twin, except where rounding decides on which side of the threshold it falls."""
    twins = 0
    for found, rows in zip(ours, theirs, strict=True):
        rows = rows[(rows[:, 2:4] - rows[:, :2] > 0.1).all(axis=1)]  # the engine keeps lines along the edge
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
    options = (str(weights), str(nms_free), str(tmp_path / "model.onnx"))
    command = [sys.executable, "-m", "tests.helpers.onnx_writer", *options]
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


def test_file_without_contract_is_refused(quickstart: Finished, tmp_path: Path) -> None:
    model = onnx.load(quickstart.folder / "export" / "model.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    for name, words in (
        ("bare.onnx", "no Sightline contract"),
        ("text.onnx", "not an ONNX model"),
        ("no.onnx", "not there"),
    ):
        with pytest.raises(ModelFileError, match=words):
            Detector(tmp_path / name)


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


def test_detecting_leaves_no_device_id_and_no_events_to_send_behind(quickstart: Finished, tmp_path: Path) -> None:
    code = "import sys; from sightline.detect import Detector; Detector(sys.argv[1])(sys.argv[2])"
    image = next((quickstart.folder.parents[1] / "cache").rglob("images/test/*.png"))
    model = quickstart.folder / "export" / "model.onnx"
    subprocess.run(
        [sys.executable, "-c", code, str(model), str(image)], env={**os.environ, "HOME": str(tmp_path)}, check=True
    )
    assert list(tmp_path.rglob("*")) == []


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


@pytest.fixture(scope="module")
def photo(quickstart: Finished) -> Path:
    return min((quickstart.folder.parents[1] / "cache").rglob("images/test/*.png"))


@pytest.fixture(scope="module")
def detector(quickstart: Finished) -> Detector:
    return Detector(quickstart.folder / "export" / "model.onnx", device="cpu")


def test_one_image_or_several_in_any_form_give_the_same(detector: Detector, photo: Path, tmp_path: Path) -> None:
    array = cv2.imread(str(photo))
    expected = detector([photo])[0].as_dicts()
    assert expected
    deep = Image.fromarray((cv2.cvtColor(array, cv2.COLOR_BGR2GRAY).astype(np.uint16) << 8) + 255)
    with Image.open(photo) as pil:
        several = [str(photo), array, pil, np.asfortranarray(array), pil.convert("RGBA"), np.array(str(photo))[()]]
        forms: list[tuple[Any, int]] = [
            *((one, 1) for one in several),
            *((several, 6), (tuple(several), 6), ((one for one in several), 6), (map(Path, [photo]), 1)),
            *((np.stack([array, array]), 2), (np.array([str(photo)] * 2), 2), ([], 0)),
        ]
        for form, count in forms:
            assert [found.as_dicts() for found in detector(form)] == [expected] * count
    grey = cv2.cvtColor(array, cv2.COLOR_BGR2GRAY)
    grey_png = str(tmp_path / "grey.png")
    cv2.imwrite(grey_png, grey)
    forms_of_grey = detector([grey, grey[..., None], Image.fromarray(grey), deep, grey_png])
    assert len({json.dumps(found.as_dicts()) for found in forms_of_grey}) == 1


WRONG: list[tuple[Callable[[np.ndarray], Any], str]] = [
    (lambda _: None, "Got None, expected a path"),
    (lambda _: 3, "type int"),
    (lambda _: b"a.jpg", "type bytes"),
    (lambda _: {"a.jpg": 1}, "type dict"),
    (lambda _: {"a.jpg"}, "type set"),
    (lambda _: object(), "type object"),
    (lambda _: np.array([]), "shape \\(0,\\) and type float64"),
    (lambda a: a[:0], "shape \\(0, "),
    (lambda a: a[:, :0], "of one pixel or more"),
    (lambda a: a / 255, "type float64, expected .* uint8"),
    (lambda a: np.full(a.shape, np.nan), "type float64"),
    (lambda a: a.astype(np.uint16), "type uint16"),
    (lambda a: a > 9, "type bool"),
    (lambda a: a[..., :2], "shape .*, 2\\)"),
    (lambda a: a.transpose(2, 0, 1), "channels last"),
    (lambda a: [a, None], "image 2: got None"),
    (lambda a: (image for image in [a, a, 3]), "image 3: got a value of type int"),
    (lambda a: [a, [a]], "image 2: got a value of type list"),
    (lambda a: [a, a / 255], "image 2: got an array .* float64"),
    (lambda a: Image.fromarray(a[..., 0].astype(np.float32)), "mode F"),
    (lambda a: Image.fromarray(a[..., 0].astype(np.int32)), "mode I"),
    (lambda _: Image.new("RGB", (0, 0)), "of one pixel or more"),
    (lambda _: "a\0b", "null byte"),
    (lambda _: "", "'' is not a path, expected that of an image"),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG, ids=[words for _, words in WRONG])
def test_what_is_no_image_is_named(detector: Detector, photo: Path, wrong: Callable, words: str) -> None:
    with pytest.raises(DataError, match=words):
        detector(wrong(cv2.imread(str(photo))))


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        *(({"confidence": value}, ConfigError, "confidence: got ") for value in (2, -0.1, "0.5", True, [0.5])),
        ({"confidence": float("nan")}, ConfigError, "confidence: got nan, expected a number from 0 to 1"),
        ({"confidence": 10**400}, ConfigError, "confidence: got 1000.*, expected a number from 0 to 1"),
        ({"model": "a" * 5000}, ModelFileError, r"^a{80}… \(5000 characters\) is not there; expected"),
        ({"model": "/dev/null"}, ModelFileError, "/dev/null is not a regular file; expected"),
        ({"model": ""}, ModelFileError, "model: got '', expected the path of an ONNX file"),
        ({"iou": 5}, ConfigError, "iou: got 5, expected a number from 0 to 1"),
        ({"device": "gpu"}, DeviceError, "device: got 'gpu', expected one of auto, cpu, cuda"),
        ({"model": None}, ModelFileError, "model: got None"),
        ({"model": "."}, ModelFileError, "is a folder"),
    ],
    ids=str,
)
def test_wrong_arguments_of_a_detector_are_named(
    quickstart: Finished, arguments: dict[str, Any], kind: type[SightlineError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        Detector(**{"model": quickstart.folder / "export" / "model.onnx", **arguments})


def test_a_number_that_python_does_not_write_is_refused_too() -> None:
    with pytest.raises(ConfigError, match="iou: got a value of type int, expected a number from 0 to 1"):
        Detector("model.onnx", iou=10**9000)


def test_wrong_batch_is_refused_at_once_and_not_as_an_empty_result(detector: Detector, photo: Path) -> None:
    assert len(list(detector.stream([photo] * 3, batch=np.int64(2)))) == 3  # type: ignore[arg-type]
    for batch in (0, -1, 1.5, None, True, np.int64(0)):
        with pytest.raises(ConfigError, match="batch: got"):
            detector.stream([photo], batch=batch)  # type: ignore[arg-type]


@pytest.mark.parametrize("head", ["anchors", "nms-free"])
def test_boxes_in_the_padding_are_no_detections_and_take_no_place(detector: Detector, head: str) -> None:
    """Of 640 x 480 pixels, in a square of 160, rows 0 to 20 and 140 to 160 are padding."""
    corners = [[60, 141, 90, 155], [5, 2, 40, 20], [10, 130, 40, 150], [50, 50, 90, 100], [60, 60, 60, 90]]
    scores = [0.9, 0.8, 0.7, 0.6, 0.5]
    x1, y1, x2, y2 = np.array(corners, np.float32).T
    if head == "anchors":
        rows = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, scores, np.zeros(5), np.zeros(5)]
        prediction = np.array(rows, np.float32)
    else:
        prediction = np.array([x1, y1, x2, y2, scores, np.zeros(5)], np.float32).T
    contract = detector.contract
    try:
        detector.contract = replace(contract, head=head, max_det=2)  # type: ignore[arg-type]
        found = detector.decode(prediction, 480, 640)
    finally:
        detector.contract = contract
    assert found.boxes == pytest.approx(np.array([[40, 440, 160, 480], [200, 120, 360, 320]]), abs=1e-3)
    assert found.scores == pytest.approx(np.array([0.7, 0.6]))
    assert all(box[0] < box[2] and box[1] < box[3] for box in (item["box"] for item in found.as_dicts()))
