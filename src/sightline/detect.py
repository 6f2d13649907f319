"""The runtime that ships: an ONNX file in, detections in original pixels out.

Needs numpy, OpenCV and ONNX Runtime, nothing else. The file itself says what input it takes (`Contract`): Sightline
writes that into the ONNX metadata at export, and scores the file with this very code.

    detector = Detector("model.onnx")
    for found in detector(["a.jpg", "b.jpg"]):  # or one path, an array, a PIL image
        print(found.finding())
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.contract import Contract, fraction
from sightline.detections import Detections, decode
from sightline.errors import ConfigError, DataError, DeviceError, ModelFileError, shortened, shown
from sightline.preprocess import Image, Source, preprocess, read_image, several
from sightline.runtime import machine

__all__ = ["Contract", "Detections", "Detector", "Device", "cuda_devices"]

Device = Literal["auto", "cpu", "cuda"]
BATCH = 8  # images that go through the network together


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

        Raises ModelFileError if the file is missing, not an ONNX model or without a contract; ConfigError for
        a `confidence` or `iou` that is not a number from 0 to 1; DeviceError for an unknown device, or if CUDA was
        asked for and cannot be used. `auto` takes CUDA where a driver shows a device, and the CPU otherwise.
        """
        if not isinstance(model, (str, os.PathLike)):
            raise ModelFileError(f"model: got {shown(model)}, expected the path of an ONNX file.")
        if not os.fspath(model):
            raise ModelFileError("model: got '', expected the path of an ONNX file.")
        if device not in get_args(Device):
            raise DeviceError(f"device: got {shown(device)}, expected one of {', '.join(get_args(Device))}.")
        wanted = {"confidence": confidence, "iou": iou}
        asked = {name: fraction(name, value) for name, value in wanted.items() if value is not None}
        self.session = _session(Path(model), device)
        self.provider: str = self.session.get_providers()[0]
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.contract = Contract.parse(metadata, str(model))
        self.confidence = asked.get("confidence", self.contract.confidence)
        self.iou = asked.get("iou", self.contract.iou)
        self._input: str = self.session.get_inputs()[0].name

    def __call__(self, images: Source | Iterable[Source]) -> list[Detections]:
        """Detect in one image or several: paths, arrays and PIL images, also mixed; one result per image, in order.

        Arrays are uint8: (height, width, 3) in BGR, as OpenCV reads them, or (height, width) in grey. Raises DataError
        for anything else, and for a path that holds no image.
        """
        return list(self.stream(images))

    def stream(self, images: Source | Iterable[Source], batch: int = BATCH) -> Iterator[Detections]:
        """Like calling, but one result at a time, holding no more than `batch` images in memory."""
        if isinstance(batch, bool) or not isinstance(batch, Integral) or batch < 1:
            raise ConfigError(f"batch: got {shown(batch)}, expected a whole number of images, 1 or more.")
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
        """Turn one image's row of `raw` into detections in an original of (height, width) pixels."""
        return decode(prediction, self.contract, self.confidence, self.iou, height, width)


def _read(images: Iterable[Source]) -> Iterator[Image]:
    """Read images one after the other; an error names the position of a bad value among several."""
    alone = isinstance(images, list) and len(images) == 1
    for number, image in enumerate(images, start=1):
        try:
            yield read_image(image)
        except DataError as error:
            if alone or isinstance(image, (str, os.PathLike)):
                raise
            raise DataError(f"image {number}: {error.message[0].lower()}{error.message[1:]}") from None


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
    """Open an ONNX Runtime session on the requested device."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # 1.31 keeps a device id and events to send in ~/.cache
    import onnxruntime

    onnxruntime.disable_telemetry_events()  # where the caller imported it before
    if not os.path.isfile(path):  # noqa: PTH113 - Path's raises for a name that is too long
        absent = "is not a regular file" if os.path.exists(path) else "is not there"  # noqa: PTH110
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
        raise ModelFileError(f"{path} is not an ONNX model that ONNX Runtime can load: {error}") from None
    if device == "cuda" and session.get_providers()[0] != "CUDAExecutionProvider":
        raise DeviceError(
            f"device: got cuda, but ONNX Runtime can only use {session.get_providers()[0]} here "
            f"(driver shows {cuda_devices()} CUDA devices). Ask for cpu or auto, or install onnxruntime-gpu with its "
            "CUDA libraries (onnxruntime-gpu[cuda,cudnn])."
        )
    return session
