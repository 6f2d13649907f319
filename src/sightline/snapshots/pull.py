"""Packs in the cache: downloaded, checked image by image, and unpacked once for all snapshots that share them."""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path

from sightline.datasets.types import Sample
from sightline.errors import StorageError
from sightline.snapshots.manifest import Manifest, lost, pack_path
from sightline.snapshots.packs import BadPack, unpack
from sightline.snapshots.parallel import several
from sightline.storage import MissingObject, Store, Transfer, cache_root, sha256_file

JPEG, END = b"\xff\xd8", b"\xff\xd9"


def packs_folder() -> Path:
    """Return where the cache keeps packs: a folder each, and locks, and packs on their way."""
    return cache_root() / "packs"


class Packs:
    """The packs of one snapshot."""

    def __init__(self, store: Store, manifest: Manifest, uri: str) -> None:
        """Take where to get them from; `uri` is the snapshot's."""
        self.store, self.manifest, self.uri = store, manifest, uri
        self.sizes = {pack.key: pack.size for pack in manifest.packs}
        self.folder = packs_folder()
        self.fresh: set[str] = set()  # packs whose images were compared with their sha256 a moment ago
        self.copied: set[str] = set()  # images that are no links, as the engine may write into them
        self._mending = threading.Lock()

    def pull(self, keys: Iterable[str]) -> None:
        """Bring packs into the cache, some at a time. Raises StorageError for those that are missing or damaged."""
        try:
            for _ in several(self._pull, keys):
                pass
        except MissingObject:
            gone = lost(self.store, self.manifest)
            raise StorageError(
                f"{self.uri} is not complete: {self.store.uri} lost part of it. Validate the source again, which sends "
                "what is missing:", gone[:20]
            ) from None  # fmt: skip

    def _pull(self, key: str) -> None:
        """Bring one pack. Other processes and threads that want it wait; 256 locks do for all."""
        folder, tar = self.folder / key, self.folder / f"{key}.tar"
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f".{key[:2]}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.is_dir():
                return
            if not (tar.is_file() and tar.stat().st_size == self.sizes.get(key)):
                self.store.download([Transfer(pack_path(key), tar)])
            beside = self.folder / f".{key}"
            shutil.rmtree(beside, ignore_errors=True)  # of a process that was killed
            beside.mkdir()
            try:
                unpack(tar, key, beside)
            except BadPack as problem:
                shutil.rmtree(beside)
                gone = "It was deleted there:" if self.store.discard(pack_path(key)) else "Delete it there, then"
                raise StorageError(
                    f"{self.store.uri}/{pack_path(key)} is damaged: {problem}. {gone} run again, and validate "
                    "sends it once more."
                ) from None
            finally:
                tar.unlink()
            beside.rename(folder)
            self.fresh.add(key)

    def place(self, sample: Sample, target: str) -> None:
        """Put an image of a pack to its place in a data set; a pack that lost it is brought again."""
        pack = sample.pack or ""
        if self._placed(sample, target):
            return
        with self._mending:
            if self._placed(sample, target):
                return  # another thread has brought it meanwhile
            shutil.rmtree(self.folder / pack, ignore_errors=True)
            self.pull([pack])
            if self._placed(sample, target):
                return
            raise StorageError(
                f"{self.store.uri}/{pack_path(pack)} does not hold the image {sample.name} ({sample.sha256}), as "
                f"{self.uri} says it does. Validate the source again."
            )

    def _placed(self, sample: Sample, target: str) -> bool:
        """Link an image, or copy it; tell whether it was there, as it should be.

        A JPEG that does not end as it should is copied: engines repair such a file, some by writing into it, and
        through a link that would damage every data set that shares it. (The engine pinned here puts a new file in its
        place.)
        """
        source = f"{self.folder}/{sample.pack}/{sample.sha256}"
        try:
            with open(source, "rb", buffering=0) as file:
                start = file.read(2)
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 2))
                repairable = start == JPEG and file.read(2) != END
        except FileNotFoundError:
            return False
        if size != sample.bytes or (sample.pack not in self.fresh and sha256_file(Path(source)) != sample.sha256):
            return False
        if repairable:
            shutil.copyfile(source, target)
            self.copied.add(sample.name)
            return True
        try:
            os.link(source, target)
        except FileExistsError:
            raise StorageError(f"{self.uri} names {sample.name} twice. Validate the source again.") from None
        except OSError:  # a file system without links, or too many of them
            shutil.copyfile(source, target)
        return True
