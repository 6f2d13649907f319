"""The built images, and containers of them as a restricted cluster starts them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from images import smoke
from images.engine import Engine
from images.lock import ROOT
from sightline.orchestrate import images


@dataclass(frozen=True)
class BuiltImages:
    """The images of the last build."""

    engine: Engine
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
