"""Checks what the images are made of."""
from pathlib import Path

from images.lock import entries


def image_licence(path: Path) -> str:
    """Return the SPDX expression of an image that is made from a list."""
    own = "AGPL-3.0-or-later"
    return f"{own} AND LicenseRef-NVIDIA" if any(name.startswith("nvidia-") for name in entries(path)) else own
