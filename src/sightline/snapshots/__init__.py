"""Snapshots: a data set under the digest of its content, as packs and lists in a store, as folders in a cache.

    <store>/packs/<key>.tar                       image bytes, about 64 MB each, shared by all snapshots
    <store>/items/<sha256>.jsonl                  one line an image: name, size, boxes, and the pack it is in
    <store>/snapshots/<digest>/manifest.json      written last: it is there, so the snapshot is complete
    <cache>/packs/<key>/<sha256>                  unpacked images
    <cache>/snapshots/<digest>/{data.yaml, manifest.json, items/…, images/<split>/…, labels/<split>/…}

The digest covers image bytes, labels, class names, splits and file names, not folders or annotation formats. Names
count because the engine reads images in their order, and the order decides what training gives: on BCCD the same images
under other names moved the test mAP50 by 0.016, more than another seed does. Where an image lies in packs is no part of
it: packs are how bytes are shared, so that a set of which one image in a hundred changed is sent in a hundredth of the
time.

    manifest   what is said about a snapshot as a whole, and its digest
    items      one line an image, in files that a change touches few of
    packs      images in tar files named by what is in them
    publish    data set -> store          fetch   store -> cache
    diff       two snapshots compared     catalog, prune   all snapshots of a store or cache

Everything streams: neither images nor lines are ever all in memory.
"""

from sightline.snapshots.fetch import ONE_CLASS, Labelled, Snapshot, SnapshotDataset, fetch, one_class
from sightline.snapshots.publish import Published, publish

__all__ = [
    "ONE_CLASS",
    "Labelled",
    "Published",
    "Snapshot",
    "SnapshotDataset",
    "fetch",
    "one_class",
    "publish",
]
