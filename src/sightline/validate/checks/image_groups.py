"""Groups of related images: equal bytes, augmented copies of one source, images that look the same.

Groups are kept by union-find (Galler and Fischer, 1964), in one machine integer per image.
"""

from __future__ import annotations

from array import array

from sightline.validate.index import Index
from sightline.validate.index.comparisons import SameColumn


class ImageGroups:
    """Groups of the images of an index, by id."""

    def __init__(self, index: Index) -> None:
        """Start with every image in a group of its own."""
        self.index = index
        self.size = index.images.last_id() + 1
        self.parents = array("l", range(self.size))

    def flags(self) -> bytearray:
        """Return a zero byte for each image id, to be used as a flag."""
        return bytearray(self.size)

    def root(self, id: int) -> int:
        """Return the image that represents the group of an image."""
        while self.parents[id] != id:
            self.parents[id] = self.parents[self.parents[id]]
            id = self.parents[id]
        return id

    def same(self, a: int, b: int) -> bool:
        """Tell whether two images are in the same group."""
        return self.root(a) == self.root(b)

    def join(self, a: int, b: int) -> None:
        """Join the groups of two images."""
        self.parents[self.root(a)] = self.root(b)

    def fewer_than(self, least: int) -> bool:
        """Tell whether there are fewer groups than `least`."""
        roots = set()
        for id in self.index.images.ids():
            roots.add(self.root(id))
            if len(roots) >= least:
                return False
        return True

    def copy(self) -> ImageGroups:
        """Return a copy that can be joined further."""
        other = ImageGroups(self.index)
        other.parents = self.parents[:]
        return other

    def join_equal(self, column: SameColumn) -> None:
        """Join all images that have the same value in a column."""
        before: tuple[int, str | int] | None = None
        for id, value in self.index.comparisons.values(column):
            if before and value == before[1]:
                self.join(id, before[0])
            before = id, value

    def write(self) -> None:
        """Write the groups of more than one image into the index."""
        self.index.comparisons.write_groups((self.root(id), id) for id in range(self.size) if self.parents[id] != id)
