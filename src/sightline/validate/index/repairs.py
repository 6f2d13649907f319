"""Queries of a repair: its changes, and images that are removed, moved or re-encoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from sightline.validate.index.comparisons import split_rank
from sightline.validate.index.database import Database
from sightline.validate.index.rows import LeakedImage, marks

CHANGE = "SELECT DISTINCT rule, place, change FROM change"
DEPENDS_ON = {
    "nothing": "NULL",
    "image": "(SELECT source FROM image WHERE id = image_id)",
    "place": "place",
}  # what must be in the copy for a change to be listed


class RepairQueries:
    """The changes of a repair. It also removes and changes images of its own, temporary index."""

    def __init__(self, database: Database) -> None:
        """Work on the tables of a database."""
        self._db = database

    def prepare(self) -> None:
        """Add a database index, so that groups are found fast."""
        self._db.run("CREATE INDEX IF NOT EXISTS image_by_group ON image (image_group)")

    # --- changes

    def note(self, change: tuple[str, str, str], source: str) -> None:
        """Add a change (rule, place, words) of the image of a source; it is listed only if the copy has the image."""
        self._db.run("INSERT INTO change VALUES (?, ?, ?, ?)", (*change, source))

    def note_issues(self, rule: str, change: str, depends_on: Literal["nothing", "image", "place"]) -> None:
        """Add a change for each issue of a rule; `depends_on` says what must be in the copy for it to be listed."""
        self._db.run(
            f"INSERT INTO change SELECT rule, place, ?, {DEPENDS_ON[depends_on]} FROM issue WHERE rule = ?",
            (change, rule),
        )

    def remove_changes_of_removed(self) -> None:
        """Remove the changes that depend on a removed image."""
        self._db.run("DELETE FROM change WHERE depends_on IS NOT NULL AND depends_on NOT IN (SELECT source FROM image)")

    def changes(self) -> Iterator[tuple[str, str, str]]:
        """Yield rule, place and change, ordered by rule and place."""
        return self._db.rows(tuple, f"{CHANGE} ORDER BY rule, place")

    def change_counts(self) -> dict[str, int]:
        """Count the changes of each rule."""
        return dict(self._db.rows(tuple, f"SELECT rule, COUNT(*) FROM ({CHANGE}) GROUP BY 1"))

    def change_counts_of(self, rules: Sequence[str]) -> list[tuple[str, str, int]]:
        """Return rule, change and number of changes for some rules, the most frequent first."""
        query = (
            f"SELECT rule, change, COUNT(*) FROM ({CHANGE}) WHERE rule IN {marks(rules)} GROUP BY 1 ORDER BY 3 DESC, 1"
        )
        return list(self._db.rows(tuple, query, rules))

    # --- images

    def remove_found(self, rule: str) -> None:
        """Remove the images that a rule's issues are about."""
        self._db.run("DELETE FROM image WHERE id IN (SELECT image_id FROM issue WHERE rule = ?)", (rule,))

    def remove_at_places(self, rule: str) -> None:
        """Remove the images whose sources are the places of a rule's issues."""
        self._db.run("DELETE FROM image WHERE source IN (SELECT place FROM issue WHERE rule = ?)", (rule,))

    def remove_unusable(self) -> None:
        """Remove the images whose file cannot be used."""
        self._db.run("DELETE FROM image WHERE sha256 IS NULL")

    def remove_conflicting(self, rule: str, change: str) -> None:
        """Remove images that have several versions of labels, and add changes of a rule for them."""
        several = "FROM image WHERE sha256 IN (SELECT sha256 FROM image GROUP BY 1 HAVING COUNT(DISTINCT labels) > 1)"
        self._db.run(f"INSERT INTO change SELECT ?, source, ?, NULL {several}", (rule, change))
        self._db.run(f"DELETE FROM image WHERE id IN (SELECT id {several})")

    def leaked(self, rules: Sequence[str]) -> list[LeakedImage]:
        """Return the images with issues of some rules, each with the earliest split of its group."""
        query = (
            "SELECT DISTINCT image.id, rule, source, declared_split, (SELECT declared_split FROM image AS member "
            f"WHERE member.image_group = image.image_group ORDER BY {split_rank('declared_split')} LIMIT 1) "
            f"FROM issue JOIN image ON image.id = image_id WHERE rule IN {marks(rules)}"
        )
        return list(self._db.rows(LeakedImage._make, query, rules))

    def move(self, id: int, split: str) -> None:
        """Give an image another declared split."""
        self._db.run("UPDATE image SET declared_split = ? WHERE id = ?", (split, id))

    # --- re-encoded images

    def resave(self, id: int, sha256: str, plain_name: str, hashed_name: str) -> None:
        """Set the digest and the names of a re-encoded image, and remember its original digest."""
        self._db.run("INSERT OR IGNORE INTO resaved SELECT source, sha256 FROM image WHERE id = ?", (id,))
        self._db.run(
            "UPDATE image SET sha256 = ?, plain_name = ?, hashed_name = ? WHERE id = ?",
            (sha256, plain_name, hashed_name, id),
        )

    def sha256_before(self, source: str) -> str | None:
        """Return the original digest of a re-encoded image, None for an image that was not re-encoded."""
        sha256: str | None = self._db.value("SELECT sha256 FROM resaved WHERE source = ?", (source,))
        return sha256

    def has_thumbnail(self, id: int) -> bool:
        """Tell whether an image has a thumbnail."""
        return self._db.value("SELECT thumb FROM image WHERE id = ?", (id,)) is not None

    def replace_thumbnail(self, id: int, thumb: bytes) -> None:
        """Give an image another thumbnail."""
        self._db.run("UPDATE image SET thumb = ? WHERE id = ?", (thumb, id))
