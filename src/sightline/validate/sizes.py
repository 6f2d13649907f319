"""What `train.sizing` chooses of model and image size, and why: by the tier of the cards, and by the boxes."""

from __future__ import annotations

from sightline.config import RunConfig, Tier, sizing
from sightline.runtime import progress


def announce(config: RunConfig, tier: Tier | None) -> None:
    """Say what a tier chose, before weights are looked for that nobody named."""
    if config.train.sizing == "auto":
        progress.notice(sizing.in_words(config, tier))


def chosen(
    config: RunConfig, tier: Tier | None, shorter_side: float | None, stride: int | None
) -> tuple[RunConfig, list[str]]:
    """Return the configuration with the image size that the boxes ask for, and what was chosen, in sentences.

    `tier` is the one that the configuration was resolved for, None where none is known; `shorter_side` the median of
    the boxes' shorter sides, as a share of the longer side of their image; `stride` the network's, None if unknown.
    Nothing is said where sizing is off.
    """
    if config.train.sizing == "off":
        return config, []
    said = [sizing.in_words(config, tier)]
    side = config.train.image_size
    larger = sizing.larger_side(side, shorter_side, stride)
    if shorter_side is not None and sizing.too_small(side, shorter_side):
        small = shorter_side * side
        words = (
            f"Half of train's boxes are {_pixels(small)} or less at their shorter side in images of {side} pixels, "
            f"and networks want {sizing.LEAST_SIDE:g}"
        )
        if larger is None or "image_size" in config.train.given:
            why = "was given" if "image_size" in config.train.given else "is as large as is chosen by itself"
            said.append(f"{words}. The image size stays, since it {why}.")
        else:
            then = _pixels(small * larger / side)
            said.append(f"{words}: image size {side} → {larger}, in which these are {then}.")
            config = config.model_copy(update={"train": config.train.model_copy(update={"image_size": larger})})
        progress.notice(said[-1])
    return config, said


def _pixels(number: float) -> str:
    """Return pixels with a digit after the point, or with two where one would round up to what networks want."""
    return f"{number:.1f} pixels" if round(number, 1) != sizing.LEAST_SIDE else f"{number:.2f} pixels"
