"""Two snapshots compared: which images and which boxes changed. Only lists of images are read, no image."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from pydantic import Field

from sightline.datasets.types import Sample
from sightline.documents import SPLITS, Document, Part
from sightline.snapshots.box_changes import BoxChange, Named, changes
from sightline.snapshots.image_matching import ImageMatching, Pair, Row
from sightline.snapshots.items import load_items
from sightline.snapshots.manifest import ItemsRef, Manifest, address, load
from sightline.snapshots.parallel import several
from sightline.storage import Store, open_store

EXAMPLES = 20
Kind = Literal[
    "images added",
    "images removed",
    "images changed",
    "images moved",
    "images renamed",
    "boxes added",
    "boxes removed",
    "boxes moved",
    "classes changed",
]


class ImageChanges(Part):
    """Images; one can be moved, renamed and relabelled at once."""

    before: int
    after: int
    added: int
    removed: int
    changed: int = Field(description="Same name and split, other bytes.")
    moved: int = Field(description="Same bytes, another split.")
    renamed: int = Field(description="Same bytes, another name.")
    relabelled: int = Field(description="In both, with other boxes.")


class BoxChanges(Part):
    """Boxes; those of images that only one of the two has count in `before` and `after` alone."""

    before: int
    after: int
    added: int
    removed: int
    moved: int = Field(description="Same class, other edges, overlapping by an IoU of at least 0.5.")
    class_changed: int = Field(description="Another class, overlapping by an IoU of at least 0.5.")


class ClassChanges(Part):
    """The boxes of one class, as in `BoxChanges`."""

    name: str
    before: int
    after: int
    added: int
    removed: int
    moved: int
    lost: int = Field(description="Boxes that are of another class now.")
    gained: int = Field(description="Boxes that were of another class.")


class DiffDocument(Document):
    """What became of a snapshot."""

    before: str = Field(description="URI of the older snapshot.")
    after: str
    classes_added: list[str]
    classes_removed: list[str]
    classes_reordered: bool = Field(description="Whether classes that both have are in another order.")
    images: ImageChanges
    boxes: BoxChanges
    by_class: list[ClassChanges] = Field(description="Classes of either, without those that have no box in both.")
    examples: dict[Kind, list[str]] = Field(
        description="At most 20 of each kind, in words; kinds without any left out."
    )


def diff(before: str, after: str) -> DiffDocument:
    """Compare two snapshots by their URIs, which may be in different stores.

    Images are the same by their bytes; where these changed, by split and name. Boxes are the same where class and edges
    are. Raises StageInputError for a URI that is none, StorageError from the stores.
    """
    stores, manifests = zip(*(_opened(uri) for uri in (before, after)), strict=True)
    old, new = manifests
    changed = _ChangeCounts(old.classes, new.classes)
    common = {ref.sha256 for ref in old.items} & {ref.sha256 for ref in new.items}
    if any(a != b for a, b in zip(old.classes, new.classes, strict=False)):
        common = set()  # the same number stands for another class
    with contextlib.closing(ImageMatching()) as pairing:
        for side in (0, 1):
            pairing.add(side, _samples(stores[side], [r for r in manifests[side].items if r.sha256 not in common]))
        for pair in pairing.pairs():
            changed.pair(pair)
        for side in (0, 1):
            for row in pairing.alone(side):
                changed.alone(side, row)
    return _document((before, after), old, new, changed)


def _opened(uri: str) -> tuple[Store, Manifest]:
    home, digest = address(uri)
    store = open_store(home)
    return store, load(store, digest)


def _samples(store: Store, refs: Sequence[ItemsRef]) -> Iterator[Sample]:
    for samples in several(lambda ref: load_items(store, ref), refs):
        yield from samples


class _ChangeCounts:
    """Counts changes, and keeps the first examples of each kind in words."""

    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        self.names = (old, new)
        self.counts: Counter[str] = Counter()
        self.by_class: Counter[tuple[str, str]] = Counter()
        self.examples: dict[Kind, list[str]] = {}

    def note(self, kind: Kind, text: str) -> None:
        self.counts[kind] += 1
        examples = self.examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(text)

    def alone(self, side: int, row: Row) -> None:
        self.note("images added" if side else "images removed", f"{row.split}/{row.name}")

    def pair(self, pair: Pair) -> None:
        old, new = pair
        place = f"{new.split}/{new.name}"
        if old.sha256 != new.sha256:
            self.note("images changed", f"{place} has other bytes")
        if old.split != new.split:
            self.note("images moved", f"{new.name} from {old.split} to {new.split}")
        if old.name != new.name:
            self.note("images renamed", f"{old.split}/{old.name} is {new.name} now")
        if old.boxes == new.boxes and self.names[0] == self.names[1]:
            return
        found = changes(_named(self.names[0], old), _named(self.names[1], new))
        self.counts["images relabelled"] += bool(found)
        for change in found:
            self.box(place, change)

    def box(self, place: str, change: BoxChange) -> None:
        old, new = change.before, change.after
        if old and new and old[0] != new[0]:
            self.by_class["lost", old[0]] += 1
            self.by_class["gained", new[0]] += 1
            self.note("classes changed", f"{place}: {old[0]} at {_at(old)} is {new[0]} now")
        elif old and new:
            self.by_class["moved", old[0]] += 1
            self.note("boxes moved", f"{place}: {old[0]} at {_at(old)} is at {_at(new)} now, IoU {change.iou:.2f}")
        elif new:
            self.by_class["added", new[0]] += 1
            self.note("boxes added", f"{place}: {new[0]} at {_at(new)}")
        elif old:
            self.by_class["removed", old[0]] += 1
            self.note("boxes removed", f"{place}: {old[0]} at {_at(old)}")


def _named(names: Sequence[str], row: Row) -> list[Named]:
    """Return the boxes of an image with their class names: numbers may stand for other classes elsewhere."""
    return [(names[label], cx, cy, w, h) for label, cx, cy, w, h in row.labels()]


def _at(box: Named) -> str:
    """Show the centre and the size of a box, in hundredths of the image."""
    return f"({box[1]:.2f}, {box[2]:.2f}; {box[3]:.2f} x {box[4]:.2f})"


def _boxes(manifest: Manifest) -> dict[str, int]:
    """Count the boxes of each class."""
    columns = zip(*(manifest.splits[split].boxes_per_class for split in SPLITS), strict=True)
    return {name: sum(column) for name, column in zip(manifest.classes, columns, strict=True)}


def _images(manifest: Manifest) -> int:
    return sum(manifest.splits[split].images for split in SPLITS)


def _document(uris: tuple[str, str], old: Manifest, new: Manifest, changed: _ChangeCounts) -> DiffDocument:
    counts, before, after = changed.counts, _boxes(old), _boxes(new)
    shared = [[name for name in names if name in before and name in after] for names in (old.classes, new.classes)]
    return DiffDocument(
        before=uris[0],
        after=uris[1],
        classes_added=[name for name in new.classes if name not in before],
        classes_removed=[name for name in old.classes if name not in after],
        classes_reordered=shared[0] != shared[1],
        images=ImageChanges(
            before=_images(old),
            after=_images(new),
            **{
                word: counts[f"images {word}"]
                for word in ("added", "removed", "changed", "moved", "renamed", "relabelled")
            },
        ),
        boxes=BoxChanges(
            before=sum(before.values()),
            after=sum(after.values()),
            class_changed=counts["classes changed"],
            **{word: counts[f"boxes {word}"] for word in ("added", "removed", "moved")},
        ),
        by_class=list(_by_class(before, after, changed.by_class)),
        examples=changed.examples,
    )


def _by_class(
    before: Mapping[str, int], after: Mapping[str, int], counts: Mapping[tuple[str, str], int]
) -> Iterator[ClassChanges]:
    for name in dict.fromkeys([*after, *before]):
        if before.get(name) or after.get(name):
            words = {word: counts[word, name] for word in ("added", "removed", "moved", "lost", "gained")}
            yield ClassChanges(name=name, before=before.get(name, 0), after=after.get(name, 0), **words)
