"""The only place where an image reference is made.

The compiled pipeline names images of this release; tags never move. KFP's cache knows an image by its reference alone.
"""

from sightline import __version__

REGISTRY = "ghcr.io/sightline-ml"
BASE_IMAGE = "python:3.11-slim-bookworm"  # of all three; a release pins its digest


def reference(name: str, tag: str, registry: str = REGISTRY) -> str:
    """Return the reference of the image `name` (data, train or infer)."""
    return f"{registry}/sightline-{name}:{tag}"


DATA = reference("data", __version__)
TRAIN = reference("train", __version__)
INFER = reference("infer", __version__)
