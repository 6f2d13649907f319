"""Finds the labels of an image folder where they are in no folder `labels`: in `Annotations`, say, or `JPEGImages`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sightline.datasets.formats.files import ALL_IMAGE_SUFFIXES, some
from sightline.datasets.formats.image_lookup import USUAL
from sightline.datasets.formats.yolo import darknet
from sightline.datasets.formats.yolo.yolo_description import Labels
from sightline.datasets.types import Folder, hidden, is_folder
from sightline.rules import Issue

PROBED = 20  # label files of a folder that are looked into, and whose images are looked for

PREDICTIONS = ("runs", "predictions", "predict", "preds", "pred", "detections", "dets", "results", "outputs", "output")


class LabelFolders:
    """Tells where labels lie, and remembers what had to be looked for."""

    def __init__(self, folder: Folder, bases: list[Path]) -> None:
        """Take `bases` for homes of the data set besides the source itself."""
        self._folder = folder
        self._usual = Labels(folder, bases)
        self._known: dict[str, str] = {}
        self.issues: list[Issue] = []

    def of(self, images: str) -> str:
        """Return the folder of the labels: the usual one, else the one folder with labels of these images."""
        if images not in self._known:
            self._known[images] = self._of(images)
        return self._known[images]

    def _of(self, images: str) -> str:
        usual = self._usual.of(images)
        if os.path.isdir(usual) and next(some(usual, (".txt",), 1), None):
            return usual
        for others in self._beside(images):
            fitting = [path for path in others if self._fits(path, images)]
            if len(fitting) == 1:
                shown = self._folder.relative
                message = f"has no labels in {shown(usual)}, where they usually are; took {shown(fitting[0])}"
                self.issues.append(Issue("data-path", self._folder.place(images), message))
                return fitting[0]
            if fitting:
                break
        return usual

    def _beside(self, images: str) -> Iterator[list[str]]:
        """Yield folders that have another name in place of one in the path, the last first."""
        root = os.fspath(self._folder.root)
        below = os.path.relpath(images, root).split("/")
        for index in range(len(below) - 1, -1, -1):
            parent = "/".join([root, *below[:index]])
            if below[0] in ("..", ".") or not self._folder.allows(parent):
                return
            with os.scandir(parent) as entries:
                there = sorted(entry.name for entry in entries if not hidden(entry.name) and is_folder(entry))
            others = [name for name in there if name != below[index] and name.lower() not in PREDICTIONS]
            yield ["/".join([parent, name, *below[index + 1 :]]) for name in others]

    def _fits(self, path: str, images: str) -> bool:
        """Tell a folder of labels, and of no images, most of whose files have an image."""
        if not os.path.isdir(path) or not self._folder.allows(path) or next(some(path, ALL_IMAGE_SUFFIXES, 1), None):
            return False
        labels = [label for label in some(path, (".txt",), PROBED) if darknet.is_label(label)]
        stems = [f"{images}/{os.path.basename(label)[:-4]}" for label in labels]
        known = sum(any(os.path.isfile(f"{stem}{ending}") for ending in USUAL) for stem in stems)
        return 2 * known > len(labels)
