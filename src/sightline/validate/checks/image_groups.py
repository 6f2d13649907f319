"""Which images belong together: equal bytes, copies of one source, pictures that look the same, and what joins these.

Families are found by union-find (Galler and Fischer, 1964), in four bytes an image.
"""

from __future__ import annotations

from array import array

from sightline.validate.index import Index


class Kin:
    """Families of the images of an index, by item id."""

    def __init__(self, index: Index) -> None:
        """Start with every image alone."""
        self.index = index
        self.size = int(index.value("SELECT MAX(id) FROM item") or 0) + 1
        self.above = array("l", range(self.size))

    def bytes(self) -> bytearray:
        """Return a byte for every image, to note something in."""
        return bytearray(self.size)

    def head(self, id: int) -> int:
        """Return the one that stands for the family."""
        while self.above[id] != id:
            self.above[id] = self.above[self.above[id]]
            id = self.above[id]
        return id

    def same(self, a: int, b: int) -> bool:
        """Tell whether two are of one family."""
        return self.head(a) == self.head(b)

    def join(self, a: int, b: int) -> None:
        """Make two families one."""
        self.above[self.head(a)] = self.head(b)

    def few(self, least: int) -> bool:
        """Tell whether there are fewer families than `least`."""
        heads = set()
        for (id,) in self.index.rows("SELECT id FROM item"):
            heads.add(self.head(id))
            if len(heads) >= least:
                return False
        return True

    def copy(self) -> Kin:
        """Return the same families, which can be joined further."""
        other = Kin(self.index)
        other.above = self.above[:]
        return other

    def by(self, column: str) -> None:
        """Join all images that are equal in a column."""
        last: tuple[int, str] | None = None
        for row in self.index.rows(f"SELECT id, {column} FROM item WHERE {column} IS NOT NULL ORDER BY {column}"):
            if last and row[1] == last[1]:
                self.join(row[0], last[0])
            last = row

    def write(self) -> None:
        """Give each member of a family the id of its first by name: a film that goes on keeps its head."""
        heads = ((self.head(id), id) for id in range(self.size) if self.above[id] != id)
        self.index.many("UPDATE item SET kin = ? WHERE id = ?", heads)
        self.index.rows("UPDATE item SET kin = id WHERE id IN (SELECT kin FROM item WHERE kin IS NOT NULL)")
        self.index.rows(
            "UPDATE item SET kin = first.id FROM (SELECT id, kin, ROW_NUMBER() OVER (PARTITION BY kin ORDER BY source, "
            "id) AS place FROM item WHERE kin IS NOT NULL) AS first WHERE first.place = 1 AND first.kin = item.kin"
        )
