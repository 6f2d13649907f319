"""The only place where an image reference is made.

The compiled pipeline names images of this release; tags never move. KFP's cache knows an image by its reference alone.
"""

from sightline import __version__

REGISTRY = "ghcr.io/sightline-ml"

DATA = f"{REGISTRY}/sightline-data:{__version__}"
TRAIN = f"{REGISTRY}/sightline-train:{__version__}"
INFER = f"{REGISTRY}/sightline-infer:{__version__}"
