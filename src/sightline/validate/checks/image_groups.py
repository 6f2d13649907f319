"""Which images belong together: equal bytes, copies of one source, pictures that look the same, and what joins these.

Groups are found by union-find (Galler and Fischer, 1964), in four bytes an image.
"""

from __future__ import annotations

from array import array

from sightline.validate.index import Index
from sightline.validate.index.comparisons import SameColumn


class ImageGroups:
    """Groups of the images of an index, by id."""

    def __init__(self, index: Index) -> None:
        """Start with every image alone."""
        self.index = index
        self.size = index.images.last_id() + 1
        self.above = array("l", range(self.size))

    def bytes(self) -> bytearray:
        """Return a byte for every image, to note something in."""
        return bytearray(self.size)

    def head(self, id: int) -> int:
        """Return the one that stands for the group."""
        while self.above[id] != id:
            self.above[id] = self.above[self.above[id]]
            id = self.above[id]
        return id

    def same(self, a: int, b: int) -> bool:
        """Tell whether two are of one group."""
        return self.head(a) == self.head(b)

    def join(self, a: int, b: int) -> None:
        """Make two groups one."""
        self.above[self.head(a)] = self.head(b)

    def few(self, least: int) -> bool:
        """Tell whether there are fewer groups than `least`."""
        heads = set()
        for id in self.index.images.ids():
            heads.add(self.head(id))
            if len(heads) >= least:
                return False
        return True

    def copy(self) -> ImageGroups:
        """Return the same groups, which can be joined further."""
        other = ImageGroups(self.index)
        other.above = self.above[:]
        return other

    def by(self, column: SameColumn) -> None:
        """Join all images that are equal in a column."""
        before: tuple[int, str | int] | None = None
        for id, value in self.index.comparisons.same(column):
            if before and value == before[1]:
                self.join(id, before[0])
            before = id, value

    def write(self) -> None:
        """Write the groups of more than one image into the index."""
        self.index.comparisons.write_groups((self.head(id), id) for id in range(self.size) if self.above[id] != id)
