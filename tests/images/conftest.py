"""The built images, and containers of them as a restricted cluster starts them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from images import engine as engines
from images import smoke
from sightline.errors import SightlineError
from sightline.orchestrate import images

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def engine() -> engines.Engine:
    try:
        found = engines.choose(os.environ.get("CONTAINER", ""))
    except SightlineError as error:
        pytest.skip(str(error))
    if not found.runs:
        pytest.skip(f"{found.kind} builds images and does not run them")
    return found


@dataclass(frozen=True)
class BuiltImages:
    """The images of the last build."""

    engine: engines.Engine
    built: Mapping[str, images.BuiltImage]

    def run(self, name: str, *command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run a command in an image: an unknown user, nothing to write but /tmp, no capabilities, no network."""
        restrictions = (*smoke.RESTRICTED, *smoke.NO_NETWORK, "--user", smoke.USER)
        return self.engine.call("run", "--rm", *restrictions, *options, self.built[name].reference, *command)

    def python(self, name: str, code: str, *, options: tuple[str, ...] = ()) -> Any:
        """Run Python in an image and return the JSON that it prints."""
        done = self.run(name, "python", "-c", code, options=options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def configuration(self, name: str) -> dict[str, Any]:
        found = json.loads(self.engine.call("image", "inspect", self.built[name].reference).stdout)
        return dict(found[0]["Config"])

    def packages(self, name: str) -> Path:
        """Return the list that an image is made from."""
        return ROOT / "images" / name / images.list_name(self.built[name].variant)


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
