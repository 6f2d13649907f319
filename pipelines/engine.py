"""Reads the training engine for the tables that our code has in its place, where it is not installed.

`python -m pipelines.compile` writes them and `--check` compares them, so that no version of the engine changes an
architecture unnoticed.
"""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sightline.weights import official

MODULE, PAGE = "src/sightline/weights/shipped.py", "src/sightline/weights/README.md"
BEGIN, END = "<!-- networks: rendered by `make compile` -->\n", "<!-- end of networks -->\n"
HEADS = ("Detect", "v10Detect")  # of detectors that need nothing but an image
# Modules that the engine has for other tasks, that want a text beside the image, or that download weights.
NOT_OURS = re.compile("Classify|Depth|OBB|Pose|RTDETR|Segment|World|YOLOE|C2fAttn|ImagePoolingAttn|TorchVision|Detect")
# Parts of torch.nn whose modules take one tensor of an image and give one back, and those in them that do not.
PARTS = ("activation", "batchnorm", "conv", "dropout", "instancenorm", "linear", "normalization", "padding")
PARTS += ("pixelshuffle", "pooling", "upsampling")
OTHER_SHAPES = re.compile(
    "1d$|3d$|^_|^Lazy|Unpool|^MultiheadAttention$|^CrossMapLRN2d$|[lL]inear$|^SyncBatch|^Adaptive"
)
SMALL, LARGE = (
    "for objects of a few pixels: one more level; slower",
    "for images of 1280 pixels and more: one more level",
)
USE = {
    "yolov5": "an earlier network under today's head, for weights that you have",
    "yolov5-p6": LARGE,
    "yolov8": "the most widespread; convolutions alone, which every runtime has",
    "yolov8-p2": SMALL,
    "yolov8-p6": LARGE,
    "yolov8-ghost": "fewer parameters, for small devices",
    "yolov8-ghost-p2": SMALL,
    "yolov8-ghost-p6": LARGE,
    "yolov9": "much score for its parameters, and slow to train",
    "yolov10": "a one-to-one head: with `export.nms_free` the file needs no NMS",
    "yolo11": "the default: `fast` takes n, `finetune` m, `balanced` what fits the card",
    "yolo12": "attention: a little more score than yolo11 for more memory and time",
    "yolo26": "a one-to-one head too, and quick on CPUs",
    "yolo26-p2": SMALL,
    "yolo26-p6": LARGE,
}
HEAD = '''"""The engine's networks, and the modules of which one of your own may consist: written by `make compile`."""

from __future__ import annotations

from typing import NamedTuple


class Shipped(NamedTuple):
    """What one of the engine's files describes, in one size."""

    layers: int
    stride: int  # pixels of the image for each cell of the deepest level
    one_to_one: bool  # whether it has a head that needs no NMS
    parameters: int  # with the 80 classes of COCO


'''


class Network(NamedTuple):
    """An architecture of the engine in one size."""

    name: str  # such as yolov8n-p2
    family: str  # without the size: yolov8-p2
    size: str
    layers: int
    stride: int
    one_to_one: bool
    parameters: int


def files(page: str) -> dict[str, str]:
    """Return the text of the table and of its page, by their paths; `page` is the page as it is."""
    found = list(networks())
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return {MODULE: module(found), PAGE: before + BEGIN + table(found) + END + after}


def networks() -> Iterator[Network]:
    """Yield every plain detector that the engine ships in the families of `USE`, in every size."""
    tasks = _engine()
    import torch
    import ultralytics

    folder = Path(ultralytics.__file__).parent / "cfg" / "models"
    described = {path.stem: tasks.YAML.load(path) for path in folder.glob("*/yolo*.yaml")}
    stems = sorted((stem for stem, it in described.items() if it["head"][-1][2] in HEADS), key=_order)
    for stem in stems:
        family = re.sub(r"^(yolov(?:9|10))[a-z]$", r"\1", stem)
        if family not in USE:
            continue
        sizes = [stem[-1]] if stem != family else list(described[stem]["scales"])
        names = {size: stem if stem != family else re.sub(r"(yolov?\d+)", rf"\g<1>{size}", stem) for size in sizes}
        smallest = tasks.DetectionModel(f"{names[sizes[0]]}.yaml", verbose=False)
        head = smallest.model[-1]
        for size, name in names.items():
            with torch.device("meta"):
                layers, _ = tasks.parse_model(tasks.yaml_model_load(f"{name}.yaml"), 3, verbose=False)
            parameters = sum(parameter.numel() for parameter in layers.parameters())
            one_to_one = getattr(head, "one2one_cv2", None) is not None
            yield Network(name, family, size, len(layers), int(head.stride.max()), one_to_one, parameters)


def _order(stem: str) -> tuple[int, str, int]:
    """Sort by generation, then variant, then size from t and n to x."""
    [(generation, rest)] = re.findall(r"^yolov?(\d+)(.*)", stem)
    return int(generation), rest if "-" in rest else "", "tnsmbclex".find(rest)


def modules() -> list[str]:
    """Return the names that a description may give its modules."""
    tasks = _engine()
    import torch

    known = tasks.parse_model.__code__.co_names  # it names every module of the engine that it knows how to connect
    engines = {name for name in known if _is_module(getattr(tasks, name, None)) and not NOT_OURS.search(name)}
    parts = [getattr(torch.nn.modules, part) for part in PARTS]
    names = {name for part in parts for name in part.__all__ if not OTHER_SHAPES.search(name)}
    return sorted(engines) + [f"nn.{name}" for name in sorted({*names, "Identity"})]


def _is_module(found: Any) -> bool:
    import torch

    return isinstance(found, type) and issubclass(found, torch.nn.Module)


def _engine() -> Any:
    """Import what builds the engine's networks."""
    from sightline import ultralytics_env

    ultralytics_env.prepare()
    from ultralytics.nn import tasks

    return tasks


def module(found: list[Network]) -> str:
    """Render the table of our code."""
    rows = "".join(
        f'    "{it.name}": Shipped({it.layers}, {it.stride}, {it.one_to_one}, {it.parameters:_}),\n' for it in found
    )
    names = textwrap.fill(" ".join(modules()), 120, initial_indent="    ", subsequent_indent="    ")
    return (
        f'{HEAD}SHIPPED = {{\n{rows}}}\n\nMODULES = frozenset(\n    """\n{names}\n    """.split()  # noqa: SIM905\n)\n'
    )


def table(found: list[Network]) -> str:
    """Render the page's table: a row for each family."""
    rows = []
    for family in dict.fromkeys(it.family for it in found):
        sizes = [it for it in found if it.family == family]
        counts = " · ".join(f"{it.size} {it.parameters / 1e6:.1f}" for it in sizes)
        known = {architecture for name, architecture in official.ARCHITECTURES.items() if f"{name}.pt" in official.PINS}
        by_name = "".join(it.size for it in sizes if it.name in known)
        start, _, variant = family.partition("-")
        name = f"{start}…{f'-{variant}' if variant else ''}"
        rows.append(f"| `{name}` | {counts} | {by_name or '–'} | {sizes[0].stride} | {USE[family]} |\n")
    head = "\n| name | sizes, with millions of parameters | weights known | stride | use |\n|---|---|---|---:|---|\n"
    return head + "".join(rows) + "\n"
