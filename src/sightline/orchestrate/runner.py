"""The runner's process: `python -m sightline.orchestrate.runner RUN_FOLDER` executes the compiled pipeline."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import yaml

from sightline.orchestrate import cached_results, claim, images, shell
from sightline.runtime.lifetime import end_with_command

KFP = ".kfp"


class _Log:
    """Standard output that drops what cannot be written: a full disk must not end the run over its log."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._file.flush()


def main(folder: Path) -> int:
    """Execute the compiled pipeline with the arguments in `folder`; returns the exit code."""
    sys.stdout = _Log(sys.stdout)
    end_with_command()
    arguments = json.loads((folder / claim.ARGUMENTS).read_text(encoding="utf-8"))
    pipeline = images.pipeline_file().read_text(encoding="utf-8")
    cached_results.verify_cached_files()
    if arguments["containers"] is None:
        shell.call_this_python()
        return _execute(pipeline, folder, arguments)
    from sightline.orchestrate import containers, tracking_server
    from sightline.orchestrate.container_settings import Settings

    settings = Settings.model_validate(arguments["containers"])
    pipeline = images.with_references(pipeline, settings.images)
    with tracking_server.serving(Path(arguments["runs"]), folder) as server:
        containers.use(folder, settings, pipeline, server)
        return _execute(pipeline, folder, arguments)


def tried_once(pipeline: str) -> str:
    """Return a compiled pipeline whose tasks are not repeated: no pod is lost here, and a mistake stays one."""
    documents = list(yaml.safe_load_all(pipeline))
    components = documents[0]["components"].values()
    for dag in (documents[0]["root"]["dag"], *(each["dag"] for each in components if "dag" in each)):
        for task in dag["tasks"].values():
            task.pop("retryPolicy", None)
    return yaml.safe_dump_all(documents, sort_keys=False)


def _execute(pipeline: str, folder: Path, arguments: Mapping[str, Any]) -> int:
    from kfp import components, local

    local.init(
        runner=local.SubprocessRunner(use_venv=False) if arguments["containers"] is None else local.DockerRunner(),
        pipeline_root=str(folder / KFP),
        enable_caching=arguments["cache"],
        cache_root=str(Path(arguments["runs"]) / ".cache"),
    )
    try:
        components.load_component_from_text(tried_once(pipeline))(**arguments["parameters"])
    except RuntimeError as error:  # all that the runner says of a failed task; the reason is in the error document
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
