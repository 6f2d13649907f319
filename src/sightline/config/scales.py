"""Which sides of the network's input a training has, and which are too small for a batch of one image."""

from __future__ import annotations

STRIDE = 32  # pixels of the image for each cell at the deepest level of every official network


def sides(image_size: int, multi_scale: float, stride: int = STRIDE) -> tuple[int, int]:
    """Return the smallest and the largest side that a batch can take, in pixels (models/yolo/detect/train.py)."""
    if not multi_scale:
        return image_size, image_size
    least = max(stride, int(image_size * (1 - multi_scale)))
    most = int(image_size * (1 + multi_scale) + stride) - 1
    return least // stride * stride, most // stride * stride


def single_image_batch(image_size: int, batch: int, stride: int = STRIDE, *, multi_scale: float = 0.0) -> list[str]:
    """Say why a network of this stride cannot train on a batch of one image; empty if it can.

    If the image is one cell at the deepest level, batch normalisation has no variance to divide by.
    """
    least = sides(image_size, multi_scale, stride)[0]
    if least >= 2 * stride:
        return []
    scaled = f" and train.multi_scale {multi_scale:g}" if multi_scale else ""
    return [
        f"train.image_size: got {image_size} with train.batch {batch}{scaled}, which leaves a single image for the "
        f"last batch of an epoch: too few values for batch normalisation. Expected {2 * stride} pixels or more"
        f"{' at the smallest scale' * bool(multi_scale)}, or a train.batch (per process) that leaves more than one "
        "image over"
    ]
