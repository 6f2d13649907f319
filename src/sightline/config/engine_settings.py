"""`train.engine`: what the training engine has for boxes and no key of ours stands for, by the engine's own names.

Judged by `engine_table.json`, which `make compile` writes from the engine: validate's image has none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from sightline import expected
from sightline.errors import did_you_mean

TABLE = "engine_table.json"
WANTED = "expected settings of the engine with their values, such as {max_det: 500}"
TYPES: dict[str, tuple[type, ...]] = {"bool": (bool,), "int": (int,), "float": (int, float), "str": (str,)}
WORDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text"}

TAKEN = {
    "agnostic_nms": "In val, NMS drops the weaker of two boxes whatever their classes are.",
    "channels_last": "Images lie in a GPU's memory pixel by pixel; null: yes.",
    "conf": "Least confidence of a detection in val; null: 0.001.",
    "iou": "Overlap (IoU) above which NMS in val drops the weaker of two boxes of a class.",
    "max_det": "Most detections of an image in val; at 300, more where an image has more objects.",
}
MOST = {"max_det": 3000.0}  # where the engine states no bound


def _each(names: str, reason: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), reason)


REASONS: dict[str, str] = {
    # what would break a promise
    "data": "the data is the snapshot that validate made: --data",
    "classes": "the data are the snapshot's: leave classes out of the labels before validate",
    "fraction": "the data are the snapshot's: leave images out before validate",
    "split": "the best epoch is chosen on val, and test chooses nothing",
    "val": "every epoch is scored on val, by which the best one is chosen",
    **_each("model pretrained", "weights.source says what training starts from"),
    **_each("distill_model dis", "a teacher would be loaded from a checkpoint that is not pinned to a sha256"),
    "resume": "a training that was stopped goes on by itself; `sightline train --resume off` starts again",
    "save": "a checkpoint is kept after every epoch",
    "compile": "it needs a C compiler and Python's headers, which the image leaves out",
    "quantize": "what ships, and its parity with the checkpoint, are in floating point",
    "augmentations": "it needs albumentations, which the image leaves out",
    "cfg": "`--config FILE` reads a file of settings, by our names",
    "nms": "export.nms_free says which head ships",
    **_each("task mode", "Sightline trains box detectors alone"),
    **_each("save_dir project name exist_ok", "files lie in the folder of the run"),
    # what draws, prints or writes files that no stage reads
    "plots": "the page has the curves of a training and of its scores",
    **_each("verbose profile", "it only prints; the training's log and document say what happened"),
    **_each(
        "save_json save_txt save_conf visualize",
        "evaluate writes the detections of every test image to predictions.npz",
    ),
    # what does nothing for boxes, or nothing in training
    **_each(
        "angle auto_augment copy_paste copy_paste_mode dgrad dlam dlog dropout erasing kobj mask_ratio overlap_mask "
        "pose retina_masks rle",
        "it does nothing for boxes: it is for masks, keypoints, rotated boxes, depth or classification",
    ),
    **_each(
        "augment dnn embed line_width save_crop save_frames show show_boxes show_conf show_labels source "
        "stream_buffer tracker vid_stride",
        "it does nothing in training; `sightline predict` uses the exported file",
    ),
    **_each(
        "dynamic format opset optimize simplify workspace",
        "it does nothing in training; the keys of export are for the exported file",
    ),
}

GONE: dict[str, str] = {
    "label_smoothing": "the engine has it no longer and drops it silently; train.cls weighs the class loss",
    "quad": "the engine has it no longer; train.multi_scale takes batches of several sizes",
    **_each("noautoanchor anchors anchor_t", "networks have no anchors any more; leave it out"),
    **_each(
        "obj obj_pw", "networks have no objectness any more; train.box, train.cls and train.dfl weigh their losses"
    ),
    **_each("fl_gamma image_weights", "the engine has it no longer; train.class_weight_power weighs rare classes"),
    "iou_t": "the engine assigns objects to cells by itself; leave it out",
    "hyp": "`--config FILE` reads a file of settings, by our names",
    "evolve": "the engine has it in another command; start runs with values of your own",
    "bucket": "SIGHTLINE_STORE=s3://bucket/prefix names a store",
    "noval": "every epoch is scored on val, by which the best one is chosen",
    "nosave": "a checkpoint is kept after every epoch",
    "noplots": "training draws nothing; leave it out",
    "weights": "weights.source says what training starts from",
    **_each("half int8", "what ships, and its parity with the checkpoint, are in floating point"),
    "end2end": "export.nms_free says which head ships",
    "keras": "it does nothing in training; the keys of export are for the exported file",
    "crop_fraction": "it does nothing for boxes: it is for classification",
    "save_hybrid": "the engine has it no longer; evaluate writes the detections of every test image",
}


class Setting(NamedTuple):
    """A setting as the engine's own check knows it."""

    kinds: list[str]  # bool, int, float, str, or what its comment says
    optional: bool  # whether null is allowed
    least: float | None
    most: float | None


@cache
def table() -> dict[str, Setting]:
    """Return the engine's settings by name."""
    return parse(resources.files("sightline.config").joinpath(TABLE).read_text(encoding="utf-8"))


def parse(text: str) -> dict[str, Setting]:
    """Read the table. A bound of ours stands where the engine states none."""
    found = {name: Setting(**row) for name, row in json.loads(text)["settings"].items()}
    return {
        name: setting._replace(most=MOST.get(name)) if setting.most is None else setting
        for name, setting in found.items()
    }


def refusal(name: str, ours: Mapping[str, str]) -> str | None:
    """Say why a setting is not taken; None for one that is. `ours` are our keys by the engine's and YOLOv5's names."""
    plain = name.replace("-", "_")
    if name in TAKEN:
        return None
    if plain in TAKEN:
        return f"is no setting of the engine; did you mean '{plain}'?"
    if plain in ours:
        return f"is {ours[plain]} here"
    if why := reason(plain):
        return f"refused, because {why}"
    return f"is no setting of the engine{did_you_mean(plain, {*TAKEN, *ours})}"


def reason(name: str) -> str | None:
    """Return why Sightline has no setting of this name, which the engine or YOLOv5 has or had; None for any other."""
    return REASONS.get(name) or GONE.get(name)


def problems(values: Any, ours: Mapping[str, str], *, gpus: int) -> list[str]:
    """Return what is wrong with the values of `train.engine`, a line for each setting."""
    if not isinstance(values, dict):
        return [f"got {expected.shown(values)}, {WANTED}"]
    found = []
    for name, value in values.items():
        problem = refusal(str(name), ours) or _wrong(str(name), value)
        if not problem and name == "channels_last" and value and not gpus:
            problem = "got 'on' with train.gpus 0, where it does nothing"
        found += [f"{name}: {problem}"] if problem else []
    return found


def values_of(setting: Setting) -> str:
    """Return in words which values a setting that is taken has."""
    limits = [f"at least {setting.least:g}"] if setting.least is not None else []
    limits += [f"at most {setting.most:g}"] if setting.most is not None else []
    words = WORDS[setting.kinds[0]]
    return ", ".join([words, " and ".join(limits)] if limits else [words])


def _wrong(name: str, value: Any) -> str | None:
    """Say what is wrong with a value, by kind and bounds."""
    setting = table()[name]
    kind = setting.kinds[0]
    if value is None and setting.optional:
        return None
    fits = isinstance(value, TYPES[kind]) and (kind == "bool" or not isinstance(value, bool))
    if fits and kind in ("int", "float"):
        fits = (setting.least is None or value >= setting.least) and (setting.most is None or value <= setting.most)
    return None if fits else f"got {expected.shown(value)}, expected {values_of(setting)}"
