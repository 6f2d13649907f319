"""Checks what the images are made of: hashed lists, one version of each package, and licences that go together.

python -m images.supply_chain

Licences are read from the packages' installed metadata, so it needs what `make install` installs and nothing else.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from images.lock import BUILD, EVERYTHING, IMAGES, LINE, ROOT, entries

OWN = "AGPL-3.0-or-later"
# What may be part of a work under AGPL-3.0-or-later, as gnu.org/licenses/license-list says of version 3 of the GPL.
ALLOWED = {
    *("0BSD", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC", "MIT", "MIT-0", "MIT-CMU", "PSF-2.0"),
    *("Unlicense", "Zlib", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "MPL-2.0", "AGPL-3.0-only", OWN),
}
CLASSIFIERS = {  # what packages without an SPDX expression say
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "GNU Affero General Public License v3 or later (AGPLv3+)": OWN,
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
BY_HAND = {  # read in the package, whose metadata says nothing or says it in other words
    "faster-coco-eval": "Apache-2.0",
    "kfp-server-api": "Apache-2.0",
    "onnxruntime": "MIT",  # of the CPU variant; the tests install onnxruntime-gpu
    "protobuf": "BSD-3-Clause",
    "torchvision": "BSD-3-Clause",
}
CUDA, SDK = "NVIDIA-CUDA-EULA", "NVIDIA-SDK-LICENCE"
# The exception: libraries of NVIDIA's, which may be passed on but not changed. CONTRIBUTING.md says what that means.
NVIDIA = {
    "cuda-toolkit": CUDA,  # empty: it names the versions of the others
    "nvidia-cublas": CUDA,
    "nvidia-cuda-cupti": CUDA,
    "nvidia-cuda-nvrtc": CUDA,
    "nvidia-cuda-runtime": CUDA,
    "nvidia-cudnn-cu13": SDK,
    "nvidia-cufft": CUDA,
    "nvidia-cufile": CUDA,
    "nvidia-curand": CUDA,
    "nvidia-cusolver": CUDA,
    "nvidia-cusparse": CUDA,
    "nvidia-cusparselt-cu13": SDK,
    "nvidia-nvjitlink": CUDA,
    "nvidia-nvshmem-cu13": CUDA,
}
BY_HAND |= {
    "nvidia-nccl-cu13": "BSD-3-Clause",
    "nvidia-nvtx": "Apache-2.0",
}  # their files; the metadata says proprietary


def problems(root: Path = ROOT) -> Iterator[str]:
    """Yield what is wrong with the lists."""
    paths = (EVERYTHING, "bootstrap.lock", BUILD, *IMAGES)
    if missing := [path for path in paths if not (root / path).is_file()]:
        yield f"{', '.join(missing)} missing in {root}. Run `make lock`."
        return
    everything = {name: version for name, (version, _) in entries(root / EVERYTHING).items()}
    for path in paths:
        yield from _unreadable(root, path)
        for name, (version, entry) in entries(root / path).items():
            if "--hash=sha256:" not in entry:
                yield f"{path}: {name} has no hash. Run `make lock`."
            if version != everything.get(name, version):
                yield f"{path}: got {name} {version}, expected {everything[name]} as in {EVERYTHING}. Run `make lock`."
    for path in IMAGES:
        for name in entries(root / path):
            if why := licence_problem(name):
                yield f"{path}: {name}: {why}"


def _unreadable(root: Path, path: str) -> Iterator[str]:
    """Yield the lines of a list that are not what `make lock` writes: no addresses, options, ranges or other lists."""
    seen: set[str] = set()
    for number, line in enumerate((root / path).read_text(encoding="utf-8").splitlines(), 1):
        found = LINE.fullmatch(line)
        if found is None:
            yield (
                f"{path}:{number}: got '{line.strip()[:80]}', expected name==version in lower case, its "
                "--hash=sha256:… or a comment. Run `make lock`."
            )
        elif (name := found["name"]) in seen:
            yield f"{path}:{number}: {name} is there twice. Run `make lock`."
        elif name:
            seen.add(name)


def licence_problem(name: str) -> str | None:
    """Say why a package may not be part of an image; None if it may."""
    if name in NVIDIA:
        return None
    found = licence(name)
    if found is None:
        return (
            "its metadata says no licence that is known here. Read its licence, and put it into BY_HAND or NVIDIA of "
            "images/supply_chain.py, or do without the package."
        )
    if not allowed(found):
        return f"got the licence '{found}', expected one that {OWN} allows (ALLOWED in images/supply_chain.py)."
    return None


def licence(name: str) -> str | None:
    """Return the licence of a package as an SPDX expression; None if its metadata does not say one."""
    if name in BY_HAND:
        return BY_HAND[name]
    try:
        metadata = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classifiers = [
        text.rpartition(" :: ")[2] for text in metadata.get_all("Classifier") or [] if text.startswith("License ::")
    ]
    if classifiers := [text for text in classifiers if text != "OSI Approved"]:  # which names no licence
        known = {CLASSIFIERS.get(text, "") for text in classifiers}
        return None if "" in known else " AND ".join(sorted(known))
    short = str(metadata.get("License") or "").strip()
    return short if short in ALLOWED else None


def allowed(expression: str) -> bool:
    """Return whether every part of an SPDX expression is allowed, or one of each choice. It knows no nested choices."""
    parts = re.split(r"\s+AND\s+", expression.replace("(", "").replace(")", ""))
    return all(any(choice in ALLOWED for choice in re.split(r"\s+OR\s+", part)) for part in parts)


def image_licence(path: Path) -> str:
    """Return the licences of an image that is made from a list, as an SPDX expression."""
    return f"{OWN} AND LicenseRef-NVIDIA" if entries(path).keys() & NVIDIA.keys() else OWN


def main() -> int:
    """Print what is wrong; returns the exit code."""
    found = list(problems())
    print(
        "\n".join(found)
        or f"The lists of the images are in order: {sum(len(entries(ROOT / path)) for path in IMAGES)} entries."
    )
    return min(1, len(found))


if __name__ == "__main__":
    sys.exit(main())
