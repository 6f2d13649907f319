"""The images and issues of a source in SQLite, one row per image, so that memory stays flat.

The file stays in the cache. When the same source is read again, image and label files that are unchanged (size,
modification and change time, inode) are not opened again; all comparisons between images are repeated.

`schema` documents the columns. All SQL is in this package, as named queries by subject:

    index.images        images that a scan reads and writes; accepted images by split
    index.issues        issues by rule
    index.pairings      images and labels that belong together by their names
    index.comparisons   copies within and across splits, thumbnails and close looks, groups of images
    index.splits        declared and assigned splits
    index.repairs       changes of a repaired copy
"""

from sightline.validate.index.dataset import IndexedDataset
from sightline.validate.index.index import Index, opened, remove

__all__ = ["Index", "IndexedDataset", "opened", "remove"]
