"""The engine of this machine, and the images of the last build in it."""

from __future__ import annotations

import os

import pytest

from images import engine as engines
from images.lock import ROOT
from sightline.errors import SightlineError
from sightline.orchestrate import images
from tests.helpers.built_images import BuiltImages


@pytest.fixture(scope="session")
def engine() -> engines.Engine:
    try:
        found = engines.choose(os.environ.get("CONTAINER", ""))
    except SightlineError as error:
        pytest.skip(str(error))
    if not found.runs:
        pytest.skip(f"{found.kind} builds images and does not run them")
    return found


@pytest.fixture(scope="session")
def built_images(engine: engines.Engine) -> BuiltImages:
    try:
        images.references()
    except SightlineError as error:
        pytest.skip(str(error))
    built = images.Built.model_validate_json((ROOT / images.BUILT).read_bytes()).images
    gone = [image.reference for image in built.values() if engine.image(image.reference) is None]
    if gone:
        pytest.skip(f"{engine.program} does not have {', '.join(gone)}; run `make images`")
    return BuiltImages(engine, built)


@pytest.fixture(params=images.NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)
