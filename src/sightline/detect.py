"""The runtime that ships: an ONNX file in, detections in original pixels out.

Needs numpy, OpenCV and ONNX Runtime, nothing else. The file says itself how it wants to be fed (`Contract`): Sightline
writes that into the ONNX metadata at export, and scores the file with this very code.

    detector = Detector("model.onnx")
    for found in detector(["a.jpg", "b.jpg"]):
        print(found.finding())
"""

from __future__ import annotations

import ctypes
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline import machine
from sightline.errors import DataError, DeviceError, ModelFileError

Image = NDArray[np.uint8]
Device = Literal["auto", "cpu", "cuda"]
KEY = "sightline"
HEADS = ("anchors", "nms-free")
BATCH = 8
CANDIDATES = 30_000  # most boxes that enter NMS, the training engine's own limit


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What an exported file promises about its input, its output and its operating point."""

    schema_version: int
    architecture: str  # such as yolo11n
    classes: tuple[str, ...]  # index in the output -> name
    image_size: int  # side of the square input it was trained and scored at, in pixels
    stride: int  # height and width of the input must be multiples of it
    head: Literal[
        "anchors", "nms-free"
    ]  # (batch, 4 + classes, anchors) cx cy w h, or (batch, n, 6) x1 y1 x2 y2 score class
    confidence: float  # operating confidence: best mean F1 on val
    iou: float  # NMS overlap threshold within a class; unused by an nms-free head
    max_det: int  # most detections per image
    preprocessing: str = (
        "letterbox: scale to fit (up or down, bilinear), centre, pad with 114; RGB; divide by 255; NCHW float32"
    )

    @classmethod
    def parse(cls, metadata: dict[str, str], where: str) -> Contract:
        """Read the contract from ONNX metadata.

        Raises ModelFileError if it is missing or not understood.
        """
        if KEY not in metadata:
            raise ModelFileError(
                f"{where} carries no Sightline contract (metadata key '{KEY}'), so its preprocessing is unknown. "
                "Use a file that `sightline export` wrote."
            )
        try:
            values = json.loads(metadata[KEY])
            contract = cls(**{**values, "classes": tuple(values["classes"])})
            if (contract.schema_version, contract.head in HEADS) != (1, True):
                raise ValueError
            return contract
        except (ValueError, KeyError, TypeError):
            expected = ", ".join(field.name for field in fields(cls))
            raise ModelFileError(f"The Sightline contract of {where} is damaged; expected {expected}.") from None

    def dump(self) -> str:
        """Return the metadata text."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class Detections:
    """What was found in one image, best first."""

    boxes: NDArray[np.float32]  # (n, 4) x1 y1 x2 y2 in original pixels, inside the image
    scores: NDArray[np.float32]  # (n,) in 0..1
    classes: NDArray[np.int64]  # (n,) indices into `names`
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, confidence: float) -> Detections:
        """Return the detections with a score above `confidence`."""
        keep = self.scores > confidence
        return Detections(self.boxes[keep], self.scores[keep], self.classes[keep], self.names)

    def finding(self) -> str:
        """Say in words what was found: `3 red-cell, 1 platelet`, or `No findings`."""
        counts = Counter(self.names[index] for index in self.classes)
        return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "No findings"

    def as_dicts(self) -> list[dict[str, Any]]:
        """Return plain values for JSON."""
        return [
            {
                "class": self.names[index],
                "score": round(float(score), 4),
                "box": [round(float(value), 1) for value in box],
            }
            for box, score, index in zip(self.boxes, self.scores, self.classes, strict=True)
        ]


class Detector:
    """An exported model, ready to run."""

    def __init__(
        self,
        model: str | Path,
        *,
        device: Device = "auto",
        confidence: float | None = None,
        iou: float | None = None,
    ) -> None:
        """Load a file; `confidence` and `iou` replace the file's own operating point.

        Raises ModelFileError if the file is missing, no ONNX model or without a contract; DeviceError if CUDA was asked
        for and cannot be used. `auto` takes CUDA where a driver shows a device, and the CPU otherwise.
        """
        self.session = _session(Path(model), device)
        self.provider: str = self.session.get_providers()[0]
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.contract = Contract.parse(metadata, str(model))
        self.confidence = self.contract.confidence if confidence is None else confidence
        self.iou = self.contract.iou if iou is None else iou
        self._input: str = self.session.get_inputs()[0].name

    def __call__(self, images: Iterable[str | Path | Image]) -> list[Detections]:
        """Detect in paths or arrays; arrays are (height, width, 3) uint8 in BGR, as OpenCV reads them.

        Raises DataError for a path that holds no image or an array of another form.
        """
        return list(self.stream(images))

    def stream(self, images: Iterable[str | Path | Image], batch: int = BATCH) -> Iterator[Detections]:
        """Like calling, but one result at a time, holding no more than `batch` images in memory."""
        source = iter(images)
        while chunk := list(islice(source, batch)):
            loaded = [read_image(image) for image in chunk]
            output = self.raw(loaded)
            for image, prediction in zip(loaded, output, strict=True):
                yield self.decode(prediction, image.shape[0], image.shape[1])

    def raw(self, images: list[Image]) -> NDArray[np.float32]:
        """Return the head's output for BGR images, before any threshold: a row per image (see `Contract.head`)."""
        size = self.contract.image_size
        blob = np.stack([preprocess(image, size) for image in images])
        output: NDArray[np.float32] = self.session.run(None, {self._input: blob})[0]
        return output

    def decode(self, prediction: NDArray[np.float32], height: int, width: int) -> Detections:
        """Turn one image's row of `raw` into detections in an original of (height, width) pixels."""
        select = _select_nms_free if self.contract.head == "nms-free" else _select_anchors
        boxes, scores, classes = select(prediction, self.confidence, self.iou)
        limit = self.contract.max_det
        boxes = unletterbox(boxes[:limit], self.contract.image_size, height, width)
        return Detections(boxes, scores[:limit], classes[:limit], self.contract.classes)


def read_image(image: str | Path | Image) -> Image:
    """Return a BGR array, upright (EXIF orientation applied).

    Raises DataError if a path holds no readable image, or an array is not (height, width, 3) uint8.
    """
    if isinstance(image, np.ndarray):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise DataError(
                f"Got an array of shape {image.shape} and type {image.dtype}, expected (h, w, 3) uint8 BGR."
            )
        return image
    try:
        data = np.fromfile(image, np.uint8)
    except OSError as error:
        raise DataError(f"{image} cannot be read: {error.strerror}.") from None
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if decoded is None:
        raise DataError(f"{image} is no image that OpenCV can read.")
    return np.asarray(decoded, np.uint8)


def _placement(size: int, height: int, width: int) -> tuple[float, int, int, int, int]:
    """Return scale, scaled width and height, left and top padding of a letterbox, rounded as the engine rounds."""
    scale = min(size / height, size / width)
    scaled_width, scaled_height = max(round(width * scale), 1), max(round(height * scale), 1)
    left = round((size - scaled_width) / 2 - 0.1)
    top = round((size - scaled_height) / 2 - 0.1)
    return scale, scaled_width, scaled_height, left, top


def preprocess(image: Image, size: int) -> NDArray[np.float32]:
    """Turn a BGR image into the network's input: (3, size, size) float32 RGB in 0..1."""
    height, width = image.shape[:2]
    _, scaled_width, scaled_height, left, top = _placement(size, height, width)
    if (scaled_width, scaled_height) != (width, height):
        image = np.asarray(cv2.resize(image, (scaled_width, scaled_height), interpolation=cv2.INTER_LINEAR), np.uint8)
    canvas = np.full((size, size, 3), 114, np.uint8)
    canvas[top : top + scaled_height, left : left + scaled_width] = image
    planes = np.ascontiguousarray(canvas[..., ::-1].transpose(2, 0, 1))
    return planes.astype(np.float32) / np.float32(255)


def unletterbox(boxes: NDArray[np.float32], size: int, height: int, width: int) -> NDArray[np.float32]:
    """Map (n, 4) x1 y1 x2 y2 boxes from network input to original pixels, clipped to the image."""
    scale, _, _, left, top = _placement(size, height, width)
    moved = (boxes - np.array([left, top, left, top], np.float32)) / np.float32(scale)
    limit = np.array([width, height, width, height], np.float32)
    clipped: NDArray[np.float32] = np.clip(moved, np.float32(0), limit)
    return clipped


Selection = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


def _select_anchors(prediction: NDArray[np.float32], confidence: float, iou: float) -> Selection:
    """Choose from (4 + classes, anchors): the best class of each anchor, then NMS within each class."""
    scores = prediction[4:].max(axis=0)
    (candidates,) = np.nonzero(scores > confidence)
    candidates = candidates[np.argsort(-scores[candidates], kind="stable")[:CANDIDATES]]
    centre, extent = prediction[:2, candidates].T, prediction[2:4, candidates].T
    corners = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1)
    classes = prediction[4:, candidates].argmax(axis=0)
    rectangles = np.concatenate([corners[:, :2], extent], axis=1)
    suppress: Any = cv2.dnn.NMSBoxesBatched  # its stub asks for lists, it takes arrays
    kept = suppress(rectangles, scores[candidates], classes, confidence, iou) if len(candidates) else ()
    keep = np.asarray(kept, np.int64).reshape(-1)
    return corners[keep], scores[candidates][keep], classes[keep]


def _select_nms_free(prediction: NDArray[np.float32], confidence: float, iou: float) -> Selection:
    """Choose from (n, 6) rows, which the network has already thinned and sorted."""
    rows = prediction[prediction[:, 4] > confidence]
    return rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64)


def cuda_devices() -> int:
    """Count the CUDA devices that the driver shows; 0 where there is no driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def _session(path: Path, device: Device) -> Any:
    """Open an ONNX Runtime session on the wished device."""
    import onnxruntime

    if not path.is_file():
        raise ModelFileError(f"{path} is not there; expected an ONNX file that `sightline export` wrote.")
    onnxruntime.set_default_logger_severity(4)  # its own messages repeat, less clearly, what is raised here
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if cores := machine.fewer_cores():  # neither library knows a container's quota
        options.intra_op_num_threads = cores
        cv2.setNumThreads(min(cores, cv2.getNumThreads()))
    providers = ["CPUExecutionProvider"]
    if device == "cuda" or (device == "auto" and cuda_devices()):
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            onnxruntime.preload_dlls()
        providers.insert(0, "CUDAExecutionProvider")
    try:
        session = onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # noqa: BLE001 - the binding's exceptions share no base but Exception
        raise ModelFileError(f"{path} is no ONNX model that ONNX Runtime can load: {error}") from None
    if device == "cuda" and session.get_providers()[0] != "CUDAExecutionProvider":
        raise DeviceError(
            f"device: got cuda, but ONNX Runtime can only use {session.get_providers()[0]} here "
            f"(driver shows {cuda_devices()} CUDA devices). Ask for cpu or auto, or install onnxruntime-gpu with its "
            "CUDA libraries (onnxruntime-gpu[cuda,cudnn])."
        )
    return session
