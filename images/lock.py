"""Resolves the hash-locked lists of the images.

python -m images.lock

Every list is resolved from extras of pyproject.toml under the versions of requirements.lock, so that a package has one
version everywhere. kfp joins each image's list without its dependencies: a task's container needs only its executor.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EVERYTHING = "requirements.lock"  # what the tests run with
BUILD = "images/build.lock"  # what a build uses and an image does not hold
IMAGES = {  # list -> extra
    "images/data/requirements.lock": "data",
    "images/train/requirements.lock": "train",
    "images/infer/requirements.lock": "infer-cuda",
    "images/infer/requirements-cpu.lock": "infer-cpu",
}
ENTRY = re.compile(r"^(?P<name>[a-z0-9.-]+)==(?P<version>[^\s;]+).*(?:\n|\Z)(?:[ \t].*(?:\n|\Z))*", re.MULTILINE)
LINE = re.compile(  # of a list, as uv writes it
    r"(?P<name>[a-z0-9]+(?:-[a-z0-9]+)*)==[0-9][^\s;,*]*(?: ; [^\\@]+?)?(?: \\)?"
    r"|    --hash=sha256:[0-9a-f]{64}(?: \\)?"
    r"|\s*(?:#.*)?"
)
OPTIONS = (
    "--quiet",
    "--python-version",
    "3.11",
    "--generate-hashes",
    "--no-emit-index-url",
    "--no-header",
    "--no-annotate",
)


def entries(path: Path) -> dict[str, tuple[str, str]]:
    """Return version and text of every package in a list, by name."""
    return {found["name"]: (found["version"], found[0]) for found in ENTRY.finditer(path.read_text(encoding="utf-8"))}


def resolve(root: Path) -> None:
    """Write every list."""
    everything = entries(root / EVERYTHING)
    # Two packages with one folder and one version, of which EVERYTHING can hold only one.
    same = f"onnxruntime=={everything['onnxruntime-gpu'][0]}\n"
    for path, extra in IMAGES.items():
        _compile(root, extra, path, same)
        with (root / path).open("a", encoding="utf-8") as file:
            entry = everything["kfp"][1].splitlines(keepends=True)
            file.write("".join(line for line in entry if not line.lstrip().startswith("#")))
    _compile(root, "build", BUILD, same)


def _compile(root: Path, extra: str, path: str, constraints: str) -> None:
    """Resolve one extra, or for the build's list exactly what it names and not the project's own dependencies."""
    with tempfile.TemporaryDirectory() as folder:
        more = Path(folder) / "constraints.txt"
        more.write_text(constraints)
        source = ["pyproject.toml", "--extra", extra]
        if path == BUILD:
            project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            wanted = Path(folder) / "build.in"
            wanted.write_text("\n".join(project["optional-dependencies"][extra]) + "\n")
            source = [str(wanted)]
        uv = str(Path(sys.executable).with_name("uv"))
        command = [uv, "pip", "compile", *OPTIONS, "-c", EVERYTHING, "-c", str(more), *source, "-o", path]
        subprocess.run(command, cwd=root, check=True)


if __name__ == "__main__":
    resolve(ROOT)
