"""The only byte mover: folders (`file://`) and S3 buckets (`s3://`), parallel, verified, atomic, resumable.

A store holds bytes under keys. Big files travel with `Store.upload` and `Store.download`, small ones with `put_bytes`
and `get_bytes`. Nothing half-written is ever read: every file is written beside its place and renamed. Endpoint and
credentials come from the environment alone:

    SIGHTLINE_STORE          where a run keeps its data            default file://<working directory>/runs/store,
                                                                   in a pod of a pipeline run none
    SIGHTLINE_CACHE          where fetched data is kept            default ~/.cache/sightline
    SIGHTLINE_TRANSFERS      files moved at the same time          default 8; 4 on one core
    SIGHTLINE_S3_ENDPOINT    the object store, http(s)://host:port default AWS_ENDPOINT_URL, else Amazon's
    SIGHTLINE_S3_WAIT        seconds to wait out an outage         default 120
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from sightline.errors import FULL, StorageUsageError, no_space_left
from sightline.runtime.pipeline_pod import in_pipeline_pod, where_to_set
from sightline.storage.base import (
    MissingObject,
    Store,
    Stored,
    Transfer,
    WrongBytes,
    sha256_file,
)
from sightline.storage.files import FileStore, file_uri, local_path
from sightline.storage.parallel import setting, threads, transfers

__all__ = [
    "FileStore",
    "MissingObject",
    "Store",
    "Stored",
    "Transfer",
    "WrongBytes",
    "cache_root",
    "check_cache",
    "default_store",
    "fetch_uri",
    "open_store",
    "setting",
    "sha256_file",
    "threads",
    "transfers",
]


CACHE_ADVICE = "Set SIGHTLINE_CACHE to a folder that can be written and has room for the data set."


def default_store() -> str:
    """Return the URI of the store that runs use by default.

    Raises StorageUsageError where none is set in a pod of a pipeline run: there is no embedded one.
    """
    if store := os.environ.get("SIGHTLINE_STORE"):
        return store
    if in_pipeline_pod():
        raise StorageUsageError(
            "SIGHTLINE_STORE is not set, and a store in this pod would be gone with it. "
            + where_to_set("SIGHTLINE_STORE, such as s3://bucket/prefix,")
        )
    return file_uri(Path.cwd() / "runs" / "store")


def cache_root() -> Path:
    """Return the folder below which fetched data is kept; safe to delete at any time.

    Raises StorageUsageError where the user has no home folder and SIGHTLINE_CACHE is not set.
    """
    try:
        return Path(os.environ.get("SIGHTLINE_CACHE") or "~/.cache/sightline").expanduser().absolute()
    except RuntimeError:
        raise StorageUsageError(f"This user has no home folder to keep fetched data in. {CACHE_ADVICE}") from None


def check_cache() -> None:
    """See that the cache can be written, before anything that needs it has cost time. Raises StorageUsageError."""
    root = cache_root()
    if unusable := sorted(set(str(root)) & set("*?[\n")):
        raise StorageUsageError(
            f"The cache {root} has {' '.join(map(repr, unusable))} in its path, which the training engine takes for a "
            f"pattern. {CACHE_ADVICE}"
        )
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        if error.errno in FULL:
            raise no_space_left(
                root, None, instead="set SIGHTLINE_CACHE to a folder elsewhere, and run again"
            ) from None
        reason = (error.strerror or str(error)).lower()
        raise StorageUsageError(f"The cache {root} cannot be written: {reason}. {CACHE_ADVICE}") from None


def open_store(uri: str) -> Store:
    """Open `file:///folder`, a plain path, or `s3://bucket/prefix`.

    A folder need not exist yet. A bucket must: it is asked for once, so that a wrong name, endpoint or credential shows
    here and not in the middle of a transfer. Raises StorageUsageError for these and StorageError if nothing answers.
    """
    if not uri.startswith("s3://"):
        return FileStore(local_path(uri))
    from sightline.storage.s3 import S3Store

    store = S3Store(uri)
    store.check()
    return store


def fetch_uri(uri: str, path: Path, sha256: str | None = None) -> Path:
    """Copy one file from `file://…`, a plain path or `s3://bucket/key` to `path`, and return `path`.

    With `sha256` a complete `path` is used as it is, and wrong bytes raise WrongBytes. Raises MissingObject if there is
    nothing under `uri`.
    """
    folder, _, name = uri.rpartition("/")
    store: Store
    if not uri.startswith("s3://"):
        source = local_path(uri)
        store, name = FileStore(source.parent), source.name
    elif folder == "s3:/" or not name:
        raise StorageUsageError(f"{uri!r} names no object; expected s3://bucket/key.")
    else:
        from sightline.storage.s3 import S3Store

        store = S3Store(folder)  # unchecked: permission to read one object need not include listing its neighbours
    store.download([Transfer(name, path, sha256)])
    return path
