"""The names that Ultralytics gives its COCO detectors, and the sha256 of those that are known."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from uuid import uuid4

from sightline.errors import WeightsError
from sightline.storage import sha256_file
from sightline.weights.shipped import SHIPPED

RELEASE = "https://github.com/ultralytics/assets/releases/download/v8.4.0"
# At least two independent sources agree on each. The first is what the release above has, as far as that is known; the
# vendor released yolov8 several times, and all of these files are his.
PINS = {
    "yolov8n.pt": (
        "f59b3d833e2ff32e194b5bb8e08d211dc7c5bdf144b90d2c8412c47ccfc83b36",
        "31e20dde3def09e2cf938c7be6fe23d9150bbbe503982af13345706515f2ef95",
        "4b401ca4b8b0bff74bce3389d2647e85a437caddb602f99c1a9c82b99754345e",
    ),
    "yolov8s.pt": (
        "1f47a78bf100391c2a140b7ac73a1caae18c32779be7d310658112f7ac9aa78a",
        "268e5bb54c640c96c3510224833bc2eeacab4135c6deb41502156e39986b562d",
    ),
    "yolov8m.pt": (
        "5d4a90cdc7a21786cc59cd19778e9eafff836df9e2da32524737c7ee6efe4fe5",
        "6c25b0b63b1a433843f06d821a9ac1deb8d5805f74f0f38772c7308c5adc55a5",
        "4f2fb7571b9fea276def31d4cbd043eda1cc640734ea9976b44d336046745bb2",
    ),
    "yolov8l.pt": (
        "64c9115303f6a25575f82200d1b22ec409fa6bd7d08d0313884fc20d919478cd",
        "18218ea4798da042d9862e6029ca9531adbd40ace19b6c9a75e2e28f1adf30cc",
        "f1924d2a9b774c1f50c919d99f3315d6af4eca3f56b26ac59546ede4a7b786fe",
    ),
    "yolov8x.pt": (
        "3df4ada6b4dad6d657868f2fdf7faecfb34dcfccf3a25c4b82079064718524c8",
        "c4d5a3f000d771762f03fc8b57ebd0aae324aeaefdd6e68492a9c4470f2d1e8b",
        "c629198855f88cd40a7e2e40ca09241075f8d79d561cd658dcfed562ffd3727c",
    ),
    "yolov9e.pt": ("dd2b885778335aa6a788e03bc29f7d68b9f0c6fba6a57e7a1acbd761e2d5858d",),
    "yolov10n.pt": ("11287ed0735678e7ba1ac2a9b3098c049155b3fde123992e724c1264bcc16b6f",),
    "yolov10m.pt": ("6dc78f7a88591cec1e8716b8f5c7e3aefa9206684f025d202be34439ccb329a0",),
    "yolo11n.pt": ("0ebbc80d4a7680d14987a577cd21342b65ecfd94632bd9a8da63ae6417644ee1",),
    "yolo11s.pt": ("85a76fe86dd8afe384648546b56a7a78580c7cb7b404fc595f97969322d502d5",),
    "yolo11m.pt": ("d5ffc1a674953a08e11a8d21e022781b1b23a19b730afc309290bd9fb5305b95",),
    "yolo11l.pt": ("9ebd0e09d59811db4b1d61e2bc6730649608b1ac47f8dd01e2da6bca7c20023f",),
    "yolo11x.pt": ("7bc158aa95c0ebfdd87f70f01653c1131b93e92522dbe15c228bcd742e773a24",),
    "yolo12n.pt": ("419ff3dca37d69bacc93a50fa0c186a1c6f9fe62fae0f108b0872829689e9ca6",),
    "yolo12s.pt": ("e915c2c4286e3f6f8610ef106fa3f94a7b8c19b30eccede5887e22c33ef75f58",),
    "yolo12m.pt": ("4c6d179786eddf6134ee469ae2f4ce04cbe4e9d1a47d6b669d9cd6b9c6c513d8",),
    "yolo12l.pt": ("0babd8dc8f775bb64bb052debdff3d8b9e9b57efa9d7bfa11c84bb82c3fec336",),
    "yolo12x.pt": ("682ce8dadee004dbe964950f1bf3eda451671815a6ed62db80b398916b9b7c6f",),
    "yolo26n.pt": ("9b09cc8bf347f0fc8a5f7657480587f25db09b34bf33b0652110fb03a8ad4fef",),
    "yolo26s.pt": ("646f8bc3fe0a656803d95c294f7852321748cb29d13466a1af8862e2db384a1b",),
    "yolo26m.pt": ("401cea9ab23ad19246ff7744859816bc599f350e93c9dd30367b6f0a0745d0b7",),
    "yolo26l.pt": ("9fe3c544f2b19bebad7ea41e76d7ad3d88b7c2f10d11d24430c5311f6b32db26",),
    "yolo26x.pt": ("9fdd44a31c504547ffb81d2c6d9e6dac3493c8eaa8b0398d3f43bae6c7003e92",),
}
KNOWN = frozenset(digest for digests in PINS.values() for digest in digests)
SIZES = {
    "yolov8": "nsmlx",
    "yolov9": "tsmce",
    "yolov10": "nsmblx",
    "yolo11": "nsmlx",
    "yolo12": "nsmlx",
    "yolo26": "nsmlx",
}
# The least parameters of a network of each size: of the leanest yolov8, 11, 12 or 26, and for n of the leanest of all.
LEAST_PARAMETERS = {"n": 1_865_316, "s": 9_284_096, "m": 20_114_688, "l": 25_372_160, "x": 56_966_176}


def _architectures() -> Iterator[tuple[str, str]]:
    for size in "nsmlx":
        yield f"yolov5{size}u", f"yolov5{size}"
        yield f"yolov5{size}6u", f"yolov5{size}-p6"
    for family, sizes in SIZES.items():
        yield from ((f"{family}{size}",) * 2 for size in sizes)


ARCHITECTURES = dict(_architectures())  # of each official name, without its suffix


def known_names() -> str:
    """Return the names whose sha256 is known, for a message."""
    families: dict[str, str] = {}
    for name in PINS:
        stem = name.removesuffix(".pt")
        families[stem[:-1]] = families.get(stem[:-1], "") + stem[-1]
    return ", ".join(f"{family} in {' '.join(sizes)}" for family, sizes in families.items())


def model_size(name: str) -> str | None:
    """Return how large an official network is, as n, s, m, l or x; None for any other.

    `name` is that of a checkpoint or an architecture, with its folder. Not all families mean the same by a letter: one
    is only as large as its parameters are.
    """
    stem = PurePosixPath(name).stem
    network = SHIPPED.get(ARCHITECTURES.get(stem, stem))
    if network is None:
        return None
    large = [size for size, least in LEAST_PARAMETERS.items() if network.parameters >= least] or ["n"]
    [letter] = re.findall(r"^yolov?\d+([a-z])", stem)
    return min(large[-1], letter, key="nsmlx".index) if letter in LEAST_PARAMETERS else large[-1]


def download(name: str, expected: str, target: Path) -> Path:
    """Download an official file to `target`; it is kept only if it has the expected sha256. Raises WeightsError."""
    url = f"{os.environ.get('SIGHTLINE_WEIGHTS_URL', RELEASE)}/{name}"
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{name}.{uuid4().hex}.part")  # in containers all have the same process id
    try:
        with urllib.request.urlopen(url, timeout=30) as answer, part.open("wb") as file:
            shutil.copyfileobj(answer, file)
        digest = sha256_file(part)
        if digest != expected:
            raise WeightsError(f"{url} has sha256 {digest}, expected {expected}. The file was deleted.")
        part.replace(target)
    # What no server of the release says, a proxy before it may; ValueError is for an address that is none.
    except (OSError, http.client.HTTPException, ValueError) as error:
        why = str(error) or type(error).__name__
        raise WeightsError(f"{url} could not be downloaded: {why}. Put the file at {target} yourself.") from None
    finally:
        part.unlink(missing_ok=True)
    return target
