"""The layouts that people have: what labelling tools export, with splits and without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.helpers.reading import Collected, collect
from tests.helpers.sets import COUNTS
from tests.helpers.tool_exports import EXPORTS, WITHOUT_SPLITS, ToolExport, label_studio_coco_without_images

FLAT = dict.fromkeys(COUNTS, "")


@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.__name__)
@pytest.mark.parametrize("fenced", [False, True], ids=["folder", "archive"])
def test_what_a_tool_exports_is_read_with_its_splits(
    make: ToolExport, export: Callable[[ToolExport], None], fenced: bool
):
    export(make)
    expected = collect(make.sets.yolo()).boxes
    read = collect(make.root, fenced=fenced)
    assert {(split, stem.removeprefix("a picture ")): boxes for (split, stem), boxes in read.boxes.items()} == expected
    assert {rule for rule, _ in read.rules()} <= {"data-path"}
    assert read.reading.declared == {"train", "val", "test"}


def unsplit(read: Collected) -> dict[str, Any]:
    return {stem: boxes for (_, stem), boxes in read.boxes.items()}


@pytest.mark.parametrize("export", WITHOUT_SPLITS, ids=lambda export: export.__name__)
def test_what_a_tool_exports_without_splits_is_one_set(make: ToolExport, export: Callable[[ToolExport], None]):
    export(make)
    expected = unsplit(collect(make.sets.yolo()))
    read = collect(make.root, fenced=True)
    elsewhere = [("data-path", "result.json: images[0]")] if export is label_studio_coco_without_images else []
    assert (unsplit(read), read.reading.declared, read.rules()) == (expected, set(), elsewhere)
