"""Store -> cache: a snapshot as folders that the engine reads, made of hard links to the images of packs."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from sightline.atomic import write_bytes, write_text
from sightline.datasets.formats.yolo.label_file import label_text
from sightline.datasets.types import Dataset, Sample
from sightline.documents import SPLITS, Split
from sightline.errors import StorageError
from sightline.snapshots import seal
from sightline.snapshots.items import Digest, read_items
from sightline.snapshots.manifest import FOLDER, Manifest, address, items_path, manifest_path, parse, wrong_content
from sightline.snapshots.parallel import several
from sightline.snapshots.pull import Packs
from sightline.storage import Store, Transfer, cache_root, check_cache, open_store

ONE_CLASS = "object"
BATCH = 256  # images that one thread links: new files are slow on a network's disk


@dataclass(frozen=True)
class Labelled:
    """One image with its objects; boxes are (x0, y0, x1, y1) in pixels of the upright image."""

    image: Path
    source: str
    sha256: str
    width: int
    height: int
    classes: np.ndarray[Any, np.dtype[np.int64]]
    boxes: np.ndarray[Any, np.dtype[np.float64]]


def one_class(classes: Sequence[str]) -> list[str]:
    """Return the classes of a view in which all of these are one; a single one keeps its name."""
    return list(classes) if len(classes) == 1 else [ONE_CLASS]


@dataclass(frozen=True)
class Snapshot:
    """A snapshot on the local disk. Only the splits that were fetched have images.

    With `single_class` it is a view of it, in which all classes are one; `data_yaml` and the files of labels are those
    of the snapshot in any case.
    """

    root: Path
    uri: str
    digest: str
    classes: list[str]
    data_yaml: Path
    single_class: bool = False

    def count(self, split: Split) -> int:
        """Return how many images a split has."""
        return parse((self.root / "manifest.json").read_bytes(), self.uri, self.digest).splits[split].images

    def samples(self, split: str) -> list[Labelled]:
        """Return the images of a fetched split, in the order of names."""
        return [_labelled(sample) for sample in self.stream(split)]

    def stream(self, split: str) -> Iterator[Sample]:
        """Yield the images of a fetched split, in the order of names."""
        manifest = parse((self.root / "manifest.json").read_bytes(), self.uri, self.digest)
        samples = read_items(self.root / "items", manifest.items, split, f"{self.root}/images/{split}")
        if not self.single_class:
            return samples
        return (sample._replace(labels=tuple((0, *label[1:]) for label in sample.labels)) for sample in samples)


class SnapshotDataset(Dataset):
    """A snapshot as what it was made from. Images of splits that are not in the cache are fetched when asked for."""

    def __init__(self, uri: str) -> None:
        """Fetch what is said of the snapshot as a whole. Raises like `fetch`."""
        self.uri = uri
        self.classes = fetch(uri, ()).classes

    def samples(self, split: Split | None = None) -> Iterator[Sample]:
        """Yield the images of one split, or of all in the order train, val, test; within a split by name."""
        for part in (split,) if split else SPLITS:
            yield from fetch(self.uri, (part,)).stream(part)


def _labelled(sample: Sample) -> Labelled:
    rows = np.array(sample.labels, dtype=np.float64).reshape(-1, 5)
    size = np.array([sample.width, sample.height], dtype=np.float64)
    corners = np.concatenate([rows[:, 1:3] - rows[:, 3:] / 2, rows[:, 1:3] + rows[:, 3:] / 2], axis=1)
    return Labelled(
        image=Path(sample.image),
        source=sample.source,
        sha256=sample.sha256,
        width=sample.width,
        height=sample.height,
        classes=rows[:, 0].astype(np.int64),
        boxes=np.clip(corners, 0, 1) * np.tile(size, 2),
    )


def fetch(uri: str, splits: Sequence[str] = SPLITS, *, single_class: bool = False) -> Snapshot:
    """Bring splits of a snapshot into the cache; those already there are used as they are.

    With `single_class` the result is a view in which all classes are one (`train.single_class`).

    Only packs that the cache lacks are downloaded. A split whose files were changed since, as the file system says, is
    made again. A split appears whole: it is built beside and renamed, its images
    last. Processes that fetch the same snapshot wait for each other, and what an interrupted one had brought is used by
    the next. Raises StageInputError for a URI that is none, StorageError if something in the store is missing or
    damaged.
    """
    home, digest = address(uri)
    root = cache_root() / FOLDER / digest
    manifest = _cached(root, uri, digest)
    if manifest is None or _absent(root, splits):
        check_cache()
        with _locked(root / ".lock"):
            manifest = _cached(root, uri, digest)  # another process may have brought it meanwhile
            if manifest is None or _absent(root, splits):
                manifest = _bring(open_store(home), uri, digest, root, splits)
    if (root / "data.yaml").read_bytes() != (text := _data_yaml(root, manifest.classes)).encode():
        write_text(root / "data.yaml", text)
    with contextlib.suppress(OSError):  # a cache that is somebody else's
        os.utime(root / "manifest.json")  # when it was last used: by this the cache is pruned
    classes = one_class(manifest.classes) if single_class else manifest.classes
    return Snapshot(root, uri, digest, classes, root / "data.yaml", single_class)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Be the only process in the block; the lock dies with its process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _cached(root: Path, uri: str, digest: str) -> Manifest | None:
    """Return the manifest in the cache, None where there is none that can be read."""
    try:
        manifest = parse((root / "manifest.json").read_bytes(), uri, digest)
        return manifest if (root / "data.yaml").exists() else None
    except (FileNotFoundError, StorageError):
        return None


def _absent(root: Path, splits: Sequence[str]) -> list[Split]:
    return [split for split in SPLITS if split in splits and not seal.holds(root, split)]


def _bring(store: Store, uri: str, digest: str, root: Path, splits: Sequence[str]) -> Manifest:
    """Fetch what is absent, by the one process that holds the lock.

    The store's manifest is read even if the cache has one: the images may lie in other packs since.
    """
    text = store.get_bytes(manifest_path(digest))
    manifest = parse(text, uri, digest)
    absent = _absent(root, splits)
    listed = [ref for ref in manifest.items if ref.split in absent or (root / "images" / ref.split).is_dir()]
    store.download(
        [Transfer(items_path(ref.sha256), root / "items" / f"{ref.sha256}.jsonl", ref.sha256) for ref in listed]
    )
    needed: set[str] = set()
    for split in absent:
        needed |= _checked(manifest, root, split)
    write_text(root / "data.yaml", _data_yaml(root, manifest.classes))
    write_bytes(root / "manifest.json", text)
    packs = Packs(store, manifest, uri)
    packs.pull(key for key in sorted(needed))
    for split in absent:
        _build(packs, manifest, root, split)
    return manifest


def _checked(manifest: Manifest, root: Path, split: Split) -> set[str]:
    """Compare the lines of a split with its digest, and return the packs that they name. Raises StorageError."""
    digest = Digest()
    packs = set()
    for sample in read_items(root / "items", manifest.items, split):
        digest.add(sample)
        packs.add(sample.pack or "")
    if digest.hexdigest() != manifest.splits[split].digest:
        raise wrong_content(f"The {split} split of {FOLDER}/{manifest.digest}")
    return packs


def _data_yaml(root: Path, classes: Sequence[str]) -> str:
    places = {"path": str(root)} | {split: f"images/{split}" for split in SPLITS}
    values = {**places, "names": dict(enumerate(classes))}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _build(packs: Packs, manifest: Manifest, root: Path, split: Split) -> None:
    """Make the folders of a split beside their place, and rename them."""
    work = root / ".unfinished"
    shutil.rmtree(work, ignore_errors=True)  # of a process that was killed
    images, labels = work / "images", work / "labels"
    images.mkdir(parents=True)
    labels.mkdir()

    def place_all(samples: list[Sample]) -> None:
        for sample in samples:
            packs.place(sample, f"{images}/{sample.name}")
            with open(f"{labels}/{os.path.splitext(sample.name)[0]}.txt", "w", encoding="utf-8") as file:
                file.write(label_text(sample.labels))

    stream = read_items(root / "items", manifest.items, split)
    for _ in several(place_all, iter(lambda: list(islice(stream, BATCH)), [])):
        pass
    for made, kind in ((labels, "labels"), (images, "images")):
        place = root / kind / split
        shutil.rmtree(place, ignore_errors=True)  # labels of a process that was killed between the two renames
        place.parent.mkdir(exist_ok=True)
        made.rename(place)
    work.rmdir()
    lists = [root / "items" / f"{ref.sha256}.jsonl" for ref in manifest.items if ref.split == split]
    seal.close(root, split, lists, packs.copied)
