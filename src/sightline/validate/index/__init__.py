"""One row an image in SQLite: what the gate works on instead of lists, so that memory stays flat.

The file stays in the cache. When the same source is read again, an image or label file that the file system says is
unchanged (size, modification and change time, inode) is not opened again; everything across images is computed again.

`schema` says what the columns hold. All SQL is in this package, as named queries by subject:

    index.images        what a scan knows and writes; the images that passed, by split
    index.issues        what the rules found
    index.pairings      images and labels that belong together by their names
    index.comparisons   copies within and across splits, thumbnails and close looks, groups of images
    index.splits        declared and assigned splits
    index.repairs       what a repaired copy changes
"""

from sightline.validate.index.dataset import IndexedDataset
from sightline.validate.index.index import Index, opened, remove

__all__ = ["Index", "IndexedDataset", "opened", "remove"]
