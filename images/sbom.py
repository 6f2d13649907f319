"""Completes an image's bill of materials: what it is of, and the licence that each package's metadata says.

python sbom.py FILE IMAGE RESULT    with the image's own Python
"""

import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any


def licences(metadata: Any) -> list[dict[str, Any]]:
    """Return the licence of a package as CycloneDX wants it: an SPDX expression, or the names in its classifiers."""
    if expression := metadata.get("License-Expression"):
        return [{"expression": expression}]
    classifiers = [text for text in metadata.get_all("Classifier") or [] if text.startswith("License :: ")]
    names = [name for text in classifiers if (name := text.rpartition(" :: ")[2]) != "OSI Approved"]
    lines = (metadata.get("License") or "").strip().splitlines()
    return [{"license": {"name": name}} for name in names or lines[:1]]


def complete(bill: dict[str, Any], image: str) -> dict[str, Any]:
    """Return a bill of materials with the image as what it is of, and with licences."""
    version = importlib.metadata.version("sightline")
    own = {"type": "container", "name": image, "version": version, "bom-ref": "image"}
    own["licenses"] = licences(importlib.metadata.metadata("sightline"))
    for component in bill["components"]:
        if found := licences(importlib.metadata.metadata(component["name"])):
            component["licenses"] = found
    return {**bill, "metadata": {**bill.get("metadata", {}), "component": own}}


if __name__ == "__main__":
    source, name, result = sys.argv[1:]
    text = json.dumps(complete(json.loads(Path(source).read_text(encoding="utf-8")), name), indent=2)
    Path(result).write_text(text + "\n", encoding="utf-8")
