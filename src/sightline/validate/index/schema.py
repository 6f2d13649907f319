"""The tables of an index, with the meaning and unit of each column: one row per image, one row per issue.

The file is a cache. Its name depends on the digest of the code, so a release with another schema uses another file, and
the older one is removed with the other unused ones.
"""

from __future__ import annotations

from collections.abc import Iterable

from sightline.rules import Handling, Scope, rule_ids

SCHEMA = """
CREATE TABLE IF NOT EXISTS image (
    -- from the source
    id INTEGER PRIMARY KEY,
    path BLOB NOT NULL,             -- of the file, as the bytes of the file system: not every name is UTF-8
    declared_split TEXT NOT NULL,   -- train, val or test; '' where the source names none
    source TEXT NOT NULL,           -- the path that messages show: below the source, in storable characters
    -- state of the last scan, so that unchanged files need not be opened
    last_scan INTEGER NOT NULL,     -- number of the last scan that met the image
    image_stamp TEXT,               -- of the file: size, times, inode; '' where a change might go unseen
    label_stamp TEXT DEFAULT '',    -- of its labels; '' makes the next scan check them again
    -- the image file (ImageInfo); all null where it cannot be used
    sha256 TEXT,                    -- of the file, hexadecimal
    size INTEGER,                   -- bytes
    width INTEGER,                  -- pixels, of the upright picture
    height INTEGER,
    orientation INTEGER,            -- EXIF, 1 to 8
    grey INTEGER,                   -- 1 with one channel
    thumb BLOB,                     -- grey thumbnail, 16 x 16 half floats; null where images are not decoded
    image_issues TEXT,              -- JSON list of the issues of the file alone; null for none
    -- the labels
    labels BLOB,                    -- five int32 each: class, cx, cy, w, h in millionths of the upright image; sorted
    boxes INTEGER,                  -- boxes that the labels name, those that cannot be used included
    convention_counts TEXT,         -- JSON: how the boxes fit each convention of coordinates; null without boxes
    named_image TEXT,               -- stem of another image that the label file names
    augmented_from TEXT,            -- name of the image that an augmented copy was made from
    -- names in the canonical layout
    plain_name TEXT,                -- the file's own name in storable characters
    hashed_name TEXT,               -- the same with eight digits of its sha256
    stem_key TEXT,                  -- stem of plain_name in lower case: what must be unique in a split
    is_plain INTEGER,               -- 1 where plain_name has the stem of the file's own name
    name TEXT,                      -- the one that is used
    -- what the gate decided
    assigned_split TEXT,            -- train, val or test; null for an image that is in none
    dropped_by TEXT,                -- the rule that leaves the image out
    image_group INTEGER,            -- id of the first, by source, of the images that belong together; null if alone
    -- the store
    pack TEXT,                      -- key of a pack that holds the image
    UNIQUE (path, declared_split));
CREATE TABLE IF NOT EXISTS issue (
    image_id INTEGER,               -- null where it is about no single image, or not linked yet
    rule TEXT NOT NULL,
    place TEXT NOT NULL,            -- file and line, annotation, split or set
    message TEXT NOT NULL,
    box TEXT,                       -- JSON: x0, y0, x1, y1 in fractions of the upright image
    badness REAL NOT NULL,          -- the worst of a rule comes first
    label INTEGER,                  -- position among the image's labels of the one it is about
    per_image INTEGER NOT NULL);    -- 1: true of the image by itself, as long as its files are unchanged
CREATE INDEX IF NOT EXISTS issue_image ON issue (image_id);
CREATE INDEX IF NOT EXISTS image_sha256 ON image (sha256);
CREATE INDEX IF NOT EXISTS image_source ON image (source);
CREATE INDEX IF NOT EXISTS image_name ON image (assigned_split, name);
CREATE TABLE IF NOT EXISTS class (
    id INTEGER PRIMARY KEY,         -- number that labels use for a class known by name only
    name TEXT UNIQUE);
CREATE TABLE IF NOT EXISTS meta (
    key TEXT PRIMARY KEY,           -- 'scan': number of scans; 'label_context': what else gives labels their meaning
    value TEXT);
"""
# These tables exist only while the index is open.
TEMPORARY = """
CREATE TEMP TABLE look (            -- close looks at images that have a similar one
    image_id INTEGER PRIMARY KEY,
    data BLOB);                     -- 64 x 64 half floats; null for an image that cannot be read
CREATE TEMP TABLE doubled (         -- stems that several images of a split have
    assigned_split TEXT, stem_key TEXT, PRIMARY KEY (assigned_split, stem_key));
CREATE TEMP TABLE change (          -- what a repair changes
    rule TEXT, place TEXT, change TEXT,
    depends_on TEXT);               -- source of an image: the change is listed only if that is in the copy
CREATE TEMP TABLE resaved (         -- images that a repair re-encoded
    source TEXT PRIMARY KEY,
    sha256 TEXT);                   -- of the original file
"""
# All content can be computed again, so no commit waits for the disk. 16 MiB of the file are cached in memory.
PRAGMAS = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA temp_store=FILE; PRAGMA cache_size=-16384;"


def quoted(values: Iterable[str]) -> str:
    """Return a list of texts for SQL, such as `('a', 'b')`."""
    texts = (value.replace("'", "''") for value in values)
    return "(" + ", ".join(f"'{text}'" for text in texts) + ")"


# Why a second copy within a split is left out.
COPY_RULES = rule_ids(lambda rule: rule.scope is Scope.IMAGE and rule.handling is Handling.FIRST_KEPT)
COPY = quoted(COPY_RULES)
USABLE = "sha256 IS NOT NULL AND dropped_by IS NULL"
DISTINCT = f"(dropped_by IS NULL OR dropped_by NOT IN {COPY})"  # an image that quarantine leaves out still leaks
