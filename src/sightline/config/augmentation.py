"""How training images are changed."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sightline.config.elsewhere import Elsewhere
from sightline.config.part import Fraction, Part

MIXES = ("mosaic", "mixup", "cutmix")  # several images in one


class Augmentation(Part):
    """Training-time image changes, in the engine's own terms."""

    mosaic: Annotated[Fraction, Elsewhere("mosaic", "mosaic")] = Field(
        1.0, description="Probability that four images are stitched into one."
    )
    close_mosaic: Annotated[int, Elsewhere("close_mosaic")] = Field(
        10, ge=0, le=10_000, description="Last epochs that run without mosaic, mixup and cutmix, at most all."
    )
    mixup: Annotated[Fraction, Elsewhere("mixup", "mixup")] = Field(
        0.0, description="Probability that two images are blended."
    )
    cutmix: Annotated[Fraction, Elsewhere("cutmix")] = Field(
        0.0, description="Probability that a rectangle of another image is pasted, with the boxes in it."
    )
    hsv_h: Annotated[Fraction, Elsewhere("hsv_h", "hsv_h")] = Field(
        0.015, description="Hue shift, as a fraction of the colour circle."
    )
    hsv_s: Annotated[Fraction, Elsewhere("hsv_s", "hsv_s")] = Field(0.7, description="Saturation gain, as a fraction.")
    hsv_v: Annotated[Fraction, Elsewhere("hsv_v", "hsv_v")] = Field(0.4, description="Brightness gain, as a fraction.")
    bgr: Annotated[Fraction, Elsewhere("bgr")] = Field(0.0, description="Probability that red and blue change places.")
    degrees: Annotated[float, Elsewhere("degrees", "degrees")] = Field(
        0.0, ge=0, le=180, description="Largest rotation either way, in degrees."
    )
    translate: Annotated[Fraction, Elsewhere("translate", "translate")] = Field(
        0.1, description="Largest shift, as a fraction of the image."
    )
    scale: Annotated[Fraction, Elsewhere("scale", "scale")] = Field(
        0.5, description="Largest zoom in or out, as a fraction."
    )
    shear: Annotated[float, Elsewhere("shear", "shear")] = Field(
        0.0, ge=0, le=45, description="Largest shear either way along both axes, in degrees."
    )
    perspective: Annotated[float, Elsewhere("perspective", "perspective")] = Field(
        0.0, ge=0, le=0.001, description="Largest perspective: by how much of itself depth changes for each pixel."
    )
    fliplr: Annotated[Fraction, Elsewhere("fliplr", "fliplr")] = Field(
        0.5, description="Probability of a left-right flip."
    )
    flipud: Annotated[Fraction, Elsewhere("flipud", "flipud")] = Field(
        0.0, description="Probability of an up-down flip."
    )
