"""Turns what a format's files say into a data set that can be published, or says why not."""

from __future__ import annotations

from collections.abc import Sequence

from sightline import progress
from sightline.artifacts import SPLITS, Problem
from sightline.errors import DataError
from sightline.validate import rules, splits
from sightline.validate.dataset import Dataset, Folder, Item, Label, Reading, Sample, error
from sightline.validate.pictures import Picture, inspect_all
from sightline.validate.source import STAGE


def check(folder: Folder, reading: Reading) -> Dataset:
    """Open every image, apply the rules and make missing splits.

    Raises DataRejected with all errors of labels and images, DataError for a set that cannot be trained on.
    """
    ticker = progress.Ticker(STAGE, len(reading.items), "checking images")
    found = list(inspect_all([item.image for item in reading.items], ticker.tick))
    problems = list(reading.problems)
    items: list[Item] = []
    pictures: list[Picture] = []
    for item, fact in zip(reading.items, found, strict=True):
        if isinstance(fact, str):
            problems.append(error("unreadable-image", item.source, fact))
        else:
            items.append(item)
            pictures.append(fact)
    labels = _labels(reading, items, pictures, problems)
    kept, repeated = rules.duplicates(items, pictures, labels)
    problems += repeated
    rules.reject(folder.name, problems)
    if not kept:
        raise DataError(f"{folder.name} holds no images that {reading.format} annotations speak of.")
    samples, split_rule = _split(folder.name, reading, items, pictures, labels, kept)
    for split in SPLITS:  # train learns from boxes, val chooses by them, test scores on them
        if not any(sample.labels for sample in samples if sample.split == split):
            raise DataError(
                f"{folder.name} has no box in its {split} split ({sum(s.split == split for s in samples)} images); "
                "expected labelled objects. In YOLO, labels lie in a folder `labels` beside `images`, a .txt an image."
            )
    problems += rules.empty_classes(samples, reading.classes)
    return Dataset(reading.classes, samples, problems, split_rule)


def _labels(
    reading: Reading, items: Sequence[Item], pictures: Sequence[Picture], problems: list[Problem]
) -> list[tuple[Label, ...]]:
    classes = {name: index for index, name in enumerate(reading.classes)}
    result = []
    for item, picture in zip(items, pictures, strict=True):
        problems += rules.orientation(item, picture)
        labels, found = rules.labels(item, picture, classes, reading.relative)
        problems += found
        result.append(labels)
    return result


def _split(
    name: str,
    reading: Reading,
    items: Sequence[Item],
    pictures: Sequence[Picture],
    labels: Sequence[tuple[Label, ...]],
    kept: Sequence[int],
) -> tuple[list[Sample], str | None]:
    given = [items[index].split for index in kept]
    hashes = [pictures[index].sha256 for index in kept]
    assigned, rule = splits.assign(name, given, hashes, reading.declared)
    samples = [
        Sample(
            split=split,
            image=items[index].image,
            source=items[index].source,
            sha256=pictures[index].sha256,
            bytes=pictures[index].bytes,
            width=pictures[index].width,
            height=pictures[index].height,
            labels=labels[index],
        )
        for index, split in zip(kept, assigned, strict=True)
    ]
    return samples, rule
