"""What loads what: commands that need no heavy library do not load one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sightline.datasets.synthetic import draw

HEAVY = ("torch", "ultralytics", "mlflow", "kfp", "kfp_server_api", "kubernetes", "onnxruntime", "onnx")


def loaded(arguments: list[str], cwd: Path) -> set[str]:
    code = (
        "import sys\n"
        "from sightline.cli import main\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "print('LOADED', *sorted(name for name in sys.modules if '.' not in name))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["submit", "--help"],
        ["schedule", "--help"],
        ["train", "--help"],
        ["predict", "--help"],
        ["config"],
    ],
)
def test_help_and_config_load_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    assert not loaded(arguments, tmp_path) & {*HEAVY, "cv2", "numpy"}


def test_validate_loads_neither_torch_nor_tracking(tmp_path: Path) -> None:
    draw(tmp_path / "data")
    names = loaded(["validate", "--data", "data", "--weights", "yolo11n.yaml", "--run", "run"], tmp_path)
    assert not names & {*HEAVY, "cv2"}
    assert "numpy" in names
