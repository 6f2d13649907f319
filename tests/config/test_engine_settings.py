"""`train.engine`: names of the engine that are taken, and what is said of all others."""

from __future__ import annotations

import pytest

from sightline.config import TrainConfig
from sightline.config.assignments import flat, parse_assignments
from sightline.config.elsewhere import ours
from sightline.config.engine_settings import GONE, REASONS, TAKEN, table
from sightline.config.presets import resolve
from sightline.errors import ConfigError


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("train.engine={max_dat: 5}", "max_dat: is no setting of the engine; did you mean 'max_det'?"),
        ("train.engine={imgsz: 320}", "imgsz: is train.image_size here"),
        ("train.engine={batch-size: 4}", "batch-size: is train.batch here"),
        ("train.engine={mosaic: 0}", "mosaic: is train.augment.mosaic here"),
        ("train.engine={label_smoothing: 0.1}", "the engine has it no longer and drops it silently; train.cls weighs"),
        ("train.engine={noautoanchor: true}", "noautoanchor: refused, because networks have no anchors any more"),
        ("train.engine={compile: true}", "compile: refused, because it needs a C compiler and Python's headers"),
        ("train.engine={copy_paste: 0.5}", "copy_paste: refused, because it does nothing for boxes"),
        ("train.engine={fraction: 0.5}", "fraction: refused, because the data are the snapshot's"),
        ("train.engine={conf: 2}", "conf: got 2, expected a number, at least 0 and at most 1"),
        ("train.engine={conf: true}", "conf: got 'on', expected a number, at least 0 and at most 1"),
        ("train.engine={iou: null}", "iou: got null, expected a number, at least 0 and at most 1"),
        ("train.engine={max_det: 1.5}", "max_det: got 1.5, expected a whole number, at least 1 and at most 3000"),
        (f"train.engine={{max_det: {10**38}}}", "expected a whole number, at least 1 and at most 3000"),
        ("train.engine={agnostic_nms: 1}", "agnostic_nms: got 1, expected true or false"),
        ("train.engine={channels_last: true}", "channels_last: got 'on' with train.gpus 0, where it does nothing"),
        ("train.engine={7: 1}", "7: is no setting of the engine"),
        ("train.engine=off", "got 'off', expected settings of the engine with their values, such as {max_det: 500}"),
        ("train.engine.conf=2", "conf: got 2, expected a number, at least 0 and at most 1"),
    ],
)
def test_what_the_engine_would_not_do_is_refused_with_what_to_use_instead(assignment: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("fast", parse_assignments([assignment]))
    assert words in str(caught.value)
    assert len(caught.value.problems) == 1


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("fast", {"train.engine": {"quad": True, "conf": 7, "max_det": 5}, "train.lr0": 9})
    assert [problem.split(":")[:2] for problem in caught.value.problems] == [
        ["train.lr0", " got 9, expected a number, at least 1e-08 and at most 1"],
        ["train.engine", " quad"],
        ["train.engine", " conf"],
    ]


def test_settings_of_the_engine_have_addresses_of_their_own() -> None:
    config = resolve("fast", parse_assignments(["train.engine={conf: null, max_det: 500}", "train.engine.iou=0.5"]))
    assert config.train.engine == {"conf": None, "max_det": 500, "iou": 0.5}
    assert {key: value for key, value in flat(config).items() if "engine" in key} == {
        "train.engine.conf": None,
        "train.engine.max_det": 500,
        "train.engine.iou": 0.5,
    }
    layout = {"train.gpus": 2, "train.engine": {"channels_last": False}}
    assert resolve("fast", layout).train.engine == {"channels_last": False}


def test_of_every_setting_of_the_engine_one_thing_is_known() -> None:
    keys = ours(TrainConfig, "train.")
    for name in table():
        assert (name in keys) + (name in TAKEN) + (name in REASONS) == 1, name
    assert not set(GONE) & set(table())
