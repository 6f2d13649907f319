"""What lies below a prefix, as the object store lists it: nothing is fetched."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sightline.storage.s3 import S3Store


@dataclass(frozen=True)
class Listing:
    """What lay below a prefix when it was listed."""

    digest: str  # sha256, 64 hex digits, of the prefix and of every object's key, size and ETag
    objects: int
    size: int  # bytes
    newest: float  # when the object that was written last was written, in seconds since 1970 by the store's clock


def age(prefix: str, seen: Listing) -> float:
    """Return for how many seconds nothing was written below a prefix, as of its listing; 0 where that is not known.

    What counts is the store's clock, which says when objects were written: that of this machine may be minutes ahead.
    Raises StorageError.
    """
    now = S3Store(prefix).impatient().clock()
    return 0.0 if now is None else max(0.0, now - seen.newest)


def listed(prefix: str) -> Listing:
    """List `s3://bucket/prefix`; an outage is not waited out. Raises StorageError.

    The order in which a store lists its keys does not count, nor do empty keys that end in a slash, by which some
    programs show folders.
    """
    digests, size, newest = [], 0, 0.0
    for entry in S3Store(prefix).impatient().entries():
        if entry.key.endswith("/"):
            continue
        # Digests take 65 bytes an object while they wait to be sorted, long keys several times that.
        digests.append(hashlib.sha256(f"{entry.key}\0{entry.size}\0{entry.etag}".encode()).digest())
        size += entry.size
        newest = max(newest, entry.modified)
    whole = hashlib.sha256(prefix.encode())
    for digest in sorted(digests):
        whole.update(digest)
    return Listing(whole.hexdigest(), len(digests), size, newest)
