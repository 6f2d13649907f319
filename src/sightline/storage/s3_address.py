"""Addresses in an object store: which ones S3 can have."""

from __future__ import annotations

import re

from minio.helpers import check_bucket_name

from sightline.errors import StorageUsageError
from sightline.storage.base import check_key

BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
EXPECTED = "s3://bucket/prefix, the bucket's name 3 to 63 small letters, digits, dots and hyphens, and no IP address"


def bucket_and_prefix(uri: str) -> tuple[str, str]:
    """Return the bucket of `s3://bucket/prefix`, and the prefix with a slash at its end, or empty.

    Raises StorageUsageError for an address that names no bucket, or a prefix that is none.
    """
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not _is_bucket(bucket):
        shown = "with a user or password in it" if "@" in bucket else repr(uri)
        raise StorageUsageError(f"An S3 address {shown} names no bucket; expected {EXPECTED}.")
    prefix = prefix.rstrip("/")
    return bucket, f"{check_key(prefix)}/" if prefix else ""


def _is_bucket(name: str) -> bool:
    """Tell whether a bucket can have this name, by S3's rules and by minio's, which would end in its ValueError."""
    try:
        check_bucket_name(name)
    except ValueError:
        return False
    return bool(BUCKET.fullmatch(name))
