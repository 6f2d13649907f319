"""Writes the compiled pipelines, or checks that the committed ones are what the code says.

python -m pipelines.compile            write pipelines/compiled/*.yaml
python -m pipelines.compile --check    fail if a committed file differs
"""

import sys
import tempfile
from pathlib import Path

from kfp import compiler

from pipelines.train import sightline_train

FOLDER = Path(__file__).parent / "compiled"
PIPELINES = {"train.yaml": sightline_train}


def compiled(folder: Path) -> dict[str, str]:
    """Compile every pipeline; returns text by file name."""
    for name, pipeline in PIPELINES.items():
        compiler.Compiler().compile(pipeline, str(folder / name))
    return {name: (folder / name).read_text(encoding="utf-8") for name in PIPELINES}


def main(arguments: list[str]) -> int:
    """Write, or with --check compare; returns the exit code."""
    if arguments == ["--check"]:
        with tempfile.TemporaryDirectory() as folder:
            fresh = compiled(Path(folder))
        stale = [name for name, text in fresh.items() if (FOLDER / name).read_text(encoding="utf-8") != text]
        for name in stale:
            print(f"pipelines/compiled/{name} is not what the code says; run `make compile` and commit it.")
        return len(stale)
    FOLDER.mkdir(exist_ok=True)
    for name in compiled(FOLDER):
        print(f"wrote pipelines/compiled/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
