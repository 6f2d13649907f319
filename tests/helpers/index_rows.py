"""Fills an index with images that exist nowhere, as a scan of them would."""

from __future__ import annotations

from collections.abc import Sequence

from sightline.image_files.images import ImageInfo
from sightline.validate.index import Index
from sightline.validate.index.rows import ScannedImage


def fill(
    index: Index, sha256: Sequence[str], *, splits: Sequence[str] = (), augmented_from: Sequence[str | None] = (),
    thumbs: Sequence[bytes | None] = (),
) -> None:  # fmt: skip
    """Enter an image for each sha256, with ids from 1, and what else is given for each of them."""
    numbers = range(len(sha256))
    scan = index.images.begin_scan("")
    index.images.claim(((n + 1, b"%d.jpg" % n, splits[n] if splits else "", f"{n}.jpg") for n in numbers), scan)
    index.images.store(
        ScannedImage(
            id=n + 1,
            image_stamp="",
            label_stamp="",
            info=ImageInfo(sha256[n], 1, 640, 480, 1, False, thumbs[n] if thumbs else None),
            image_issues=None,
            labels=b"",
            boxes=0,
            augmented_from=augmented_from[n] if augmented_from else None,
            plain_name=f"{n}.jpg",
            hashed_name=f"{n}-{sha256[n][:8]}.jpg",
            stem_key=str(n),
            is_plain=True,
            pack=None,
            convention_counts=None,
            named_image=None,
        )
        for n in numbers
    )
