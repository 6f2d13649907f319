"""The runtime that ships: an ONNX file in, detections in original pixels out.

Needs numpy, OpenCV and ONNX Runtime, nothing else. The file says itself how it wants to be fed (`Contract`): Sightline
writes that into the ONNX metadata at export, and scores the file with this very code.

    detector = Detector("model.onnx")
    for found in detector(["a.jpg", "b.jpg"]):  # or one path, an array, a PIL image
        print(found.finding())
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from itertools import islice
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.errors import ConfigError, DataError, DeviceError, ModelFileError, shortened
from sightline.preprocess import Image, Source, preprocess, read_image, several, unletterbox
from sightline.runtime import machine

Device = Literal["auto", "cpu", "cuda"]
KEY = "sightline"
HEADS = ("anchors", "nms-free")
BATCH = 8
LEAST_SIDE = 0.1  # of a box inside its image, in original pixels
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
            contract._check()
            return contract
        except (ValueError, KeyError, TypeError, ConfigError):
            expected = ", ".join(field.name for field in fields(cls))
            raise ModelFileError(f"The Sightline contract of {where} is damaged; expected {expected}.") from None

    def _check(self) -> None:
        """Raise ValueError or TypeError if a value cannot be what its field means."""
        counts = (self.schema_version, self.image_size, self.stride, self.max_det)
        if self.schema_version != 1 or self.head not in HEADS or not self.classes:
            raise ValueError
        if not all(isinstance(name, str) for name in self.classes) or not all(type(n) is int and n > 0 for n in counts):
            raise TypeError
        _fraction("confidence", self.confidence)
        _fraction("iou", self.iou)

    def dump(self) -> str:
        """Return the metadata text."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class Detections:
    """What was found in one image, best first."""

    boxes: NDArray[np.float32]  # (n, 4) x1 y1 x2 y2 in original pixels, inside the image, each with an area
    scores: NDArray[np.float32]  # (n,) in 0..1
    classes: NDArray[np.int64]  # (n,) indices into `names`
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, confidence: float) -> Detections:
        """Return the detections with a score above `confidence`."""
        return self.take(np.nonzero(self.scores > confidence)[0])

    def take(self, rows: NDArray[np.int64]) -> Detections:
        """Return the detections of these positions."""
        return Detections(self.boxes[rows], self.scores[rows], self.classes[rows], self.names)

    def finding(self) -> str:
        """Say in words what was found: `3 red-cell, 1 platelet`, or `No findings`."""
        counts = Counter(self.names[index] for index in self.classes)
        return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "No findings"

    def as_dicts(self) -> list[dict[str, Any]]:
        """Return plain values for JSON."""
        return [
            {
                "class": self.names[index],
                "score": round(float(score), 6),
                "box": [round(float(value), 1) for value in box],
            }
            for box, score, index in zip(self.boxes, self.scores, self.classes, strict=True)
        ]


class Detector:
    """An exported model, ready to run."""

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        device: Device = "auto",
        confidence: float | None = None,
        iou: float | None = None,
    ) -> None:
        """Load a file; `confidence` and `iou`, both 0 to 1, replace the file's own operating point.

        Raises ModelFileError if the file is missing, no ONNX model or without a contract; ConfigError for a
        `confidence` or `iou` that is no number from 0 to 1; DeviceError for an unknown device, or if CUDA was asked for
        and cannot be used. `auto` takes CUDA where a driver shows a device, and the CPU otherwise.
        """
        if not isinstance(model, (str, os.PathLike)):
            raise ModelFileError(f"model: got {_shown(model)}, expected the path of an ONNX file.")
        if not os.fspath(model):
            raise ModelFileError("model: got '', expected the path of an ONNX file.")
        if device not in get_args(Device):
            raise DeviceError(f"device: got {_shown(device)}, expected one of {', '.join(get_args(Device))}.")
        wanted = {"confidence": confidence, "iou": iou}
        asked = {name: _fraction(name, value) for name, value in wanted.items() if value is not None}
        self.session = _session(Path(model), device)
        self.provider: str = self.session.get_providers()[0]
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.contract = Contract.parse(metadata, str(model))
        self.confidence = asked.get("confidence", self.contract.confidence)
        self.iou = asked.get("iou", self.contract.iou)
        self._input: str = self.session.get_inputs()[0].name

    def __call__(self, images: Source | Iterable[Source]) -> list[Detections]:
        """Detect in one image or several: paths, arrays and PIL images, also mixed; one result an image, in order.

        Arrays are uint8: (height, width, 3) in BGR, as OpenCV reads them, or (height, width) in grey. Raises DataError
        for anything else, and for a path that holds no image.
        """
        return list(self.stream(images))

    def stream(self, images: Source | Iterable[Source], batch: int = BATCH) -> Iterator[Detections]:
        """Like calling, but one result at a time, holding no more than `batch` images in memory."""
        if isinstance(batch, bool) or not isinstance(batch, Integral) or batch < 1:
            raise ConfigError(f"batch: got {_shown(batch)}, expected a whole number of images, 1 or more.")
        return self._stream(_read(several(images)), min(int(batch), sys.maxsize))

    def _stream(self, images: Iterator[Image], batch: int) -> Iterator[Detections]:
        while chunk := list(islice(images, batch)):
            for image, prediction in zip(chunk, self.raw(chunk), strict=True):
                yield self.decode(prediction, image.shape[0], image.shape[1])

    def raw(self, images: list[Image]) -> NDArray[np.float32]:
        """Return the head's output for BGR images, before any threshold: a row per image (see `Contract.head`)."""
        size = self.contract.image_size
        blob = np.empty((len(images), 3, size, size), np.float32)
        for image, planes in zip(images, blob, strict=True):
            preprocess(image, size, out=planes)
        output: NDArray[np.float32] = self.session.run(None, {self._input: blob})[0]
        return output

    def decode(self, prediction: NDArray[np.float32], height: int, width: int) -> Detections:
        """Turn one image's row of `raw` into detections in an original of (height, width) pixels.

        What lies in the padding has no area inside the image: it is no detection, and takes no place among `max_det`.
        Nor has what is thinner than LEAST_SIDE: written with one decimal, its sides coincide.
        """
        select = _select_nms_free if self.contract.head == "nms-free" else _select_anchors
        boxes, scores, classes = select(prediction, self.confidence, self.iou)
        boxes = unletterbox(boxes, self.contract.image_size, height, width)
        (keep,) = np.nonzero((boxes[:, 2:] - boxes[:, :2] > LEAST_SIDE).all(axis=1))
        keep = keep[: self.contract.max_det]
        return Detections(boxes[keep], scores[keep], classes[keep], self.contract.classes)


def _read(images: Iterable[Source]) -> Iterator[Image]:
    """Read images one after the other; of several, a value that is none is named by its place."""
    alone = isinstance(images, list) and len(images) == 1
    for number, image in enumerate(images, start=1):
        try:
            yield read_image(image)
        except DataError as error:
            if alone or isinstance(image, (str, os.PathLike)):
                raise
            raise DataError(f"image {number}: {error.message[0].lower()}{error.message[1:]}") from None


def _fraction(name: str, value: object) -> float:
    """Return a number from 0 to 1 as a float.

    Raises ConfigError if it is none.
    """
    real = isinstance(value, Real) and not isinstance(value, (bool, np.bool_))
    number: Any = value if real else math.nan  # compared before it is made a float, which some integers exceed
    if not 0 <= number <= 1:
        raise ConfigError(f"{name}: got {_shown(value)}, expected a number from 0 to 1.")
    return float(number)


def _shown(value: object) -> str:
    """Show a wrong value in a message; Python does not write a number of thousands of digits."""
    try:
        return f"{value!r:.80}"
    except ValueError:
        return f"a value of type {type(value).__name__}"


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
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # 1.31 keeps a device id and events to send in ~/.cache
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # where the caller imported it before
    if not os.path.isfile(path):  # noqa: PTH113 - Path's raises for a name that is too long
        absent = "is no regular file" if os.path.exists(path) else "is not there"  # noqa: PTH110
        found = "is a folder" if os.path.isdir(path) else absent  # noqa: PTH112
        raise ModelFileError(f"{shortened(path)} {found}; expected an ONNX file that `sightline export` wrote.")
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
