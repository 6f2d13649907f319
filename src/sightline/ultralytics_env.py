"""Configures the training engine (Ultralytics): offline, quiet, and without its own experiment trackers.

Call `prepare` before the first import of `ultralytics` in a process; it reads its settings at import.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from sightline.runtime import machine

NAME = "ultralytics"
# Its own callbacks for these services would write files or call home beside our one MLflow run.
SERVICES = ("mlflow", "clearml", "comet", "dvc", "hub", "neptune", "raytune", "tensorboard", "wandb")


def prepare() -> None:
    """Give the engine a temporary configuration of its own, no network, and the number of cores that it may use."""
    # It counts the machine's cores to choose threads and loaders; Python 3.13 has a setting for the same.
    os.cpu_count = machine.cores
    folder = Path(tempfile.mkdtemp(prefix="sightline-engine-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    fonts = folder / "Ultralytics"
    fonts.mkdir()
    os.environ.update(
        YOLO_OFFLINE="true",
        YOLO_AUTOINSTALL="false",
        YOLO_VERBOSE="false",
        YOLO_CONFIG_DIR=str(folder),
        MPLCONFIGDIR=str(folder / "matplotlib"),
    )
    os.environ.pop("ULTRALYTICS_API_KEY", None)

    import matplotlib

    # Without these two files it asks for them over the network, even offline.
    font = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    for name in ("Arial.ttf", "Arial.Unicode.ttf"):
        shutil.copy(font, fonts / name)

    from ultralytics.utils import SETTINGS, downloads

    downloads.attempt_download_asset = _only_here
    SETTINGS.update({name: False for name in ("sync", *SERVICES) if name in SETTINGS})


def _only_here(file: object, *_: object, **__: object) -> str:
    """Stand in for the engine's download, which also strips quotes and spaces from every path before it looks.

    Raises ConnectionError for a missing file, as the engine does offline.
    """
    if not Path(str(file)).exists():
        raise ConnectionError(f"{file} is not here, and nothing is downloaded")
    return str(file)


def version() -> str:
    """Return the engine's name and version."""
    import ultralytics

    return f"{NAME} {ultralytics.__version__}"
