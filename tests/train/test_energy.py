"""The energy of a training by its cards' counters: a library of NVIDIA's name stands in for the driver's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sightline.datasets.synthetic import draw
from sightline.documents.signs import Attempts
from tests.helpers.command import sightline

CARDS = """GPU 0: NVIDIA H100 (UUID: GPU-aaaa)
GPU 1: NVIDIA H100 (UUID: GPU-bbbb)
GPU 2: NVIDIA P100 (UUID: GPU-old)
"""
# Counters stand in files, in millijoules; a card without a file has none (NVML_ERROR_NOT_SUPPORTED is 3). With GROWS
# one goes up by a joule whenever it is read.
LIBRARY = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int nvmlInitWithFlags(unsigned int flags) { return 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
  if (!strncmp(uuid, "GPU-unknown", 11)) return 6;
  *device = strdup(uuid);
  return 0;
}
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *energy) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", FOLDER, (char *)device);
  FILE *file = fopen(path, "r");
  if (!file) return 3;
  int read = fscanf(file, "%llu", energy);
  fclose(file);
  if (getenv("GROWS") && (file = fopen(path, "w"))) {
    fprintf(file, "%llu", *energy + 1000);
    fclose(file);
  }
  return read == 1 ? 0 : 999;
}
const char *nvmlErrorString(int code) { return "no"; }
"""
CODE = """
import sys
from pathlib import Path
from sightline.train.energy import Meter
gpus, nodes = int(sys.argv[1]), int(sys.argv[2])
meter = Meter(gpus, nodes)
for name, value in (("GPU-aaaa", 5_500), ("GPU-bbbb", 1_000_250)):
    if Path(name).exists():
        Path(name).write_text(str(value))
print(meter.joules(), meter.joules([10.0]), meter.joules([None]), "pynvml" in sys.modules)
"""


def measure(folder: Path, gpus: int, nodes: int = 1, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(gpus), str(nodes)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a machine with a driver; returns the folder of its counters."""
    if not shutil.which("cc"):
        pytest.skip("there is no C compiler here to make the library with")
    (tmp_path / "nvml.c").write_text(LIBRARY)
    library = tmp_path / "lib" / "libnvidia-ml.so.1"
    library.parent.mkdir()
    command = ["cc", "-shared", "-fPIC", f'-DFOLDER="{tmp_path}"', "-o", str(library), str(tmp_path / "nvml.c")]
    subprocess.run(command, check=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvidia-smi").write_text(f"#!/bin/sh\ncat <<'END'\n{CARDS}END\n")
    (tmp_path / "bin" / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library.parent))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "GPU-aaaa").write_text("5000")
    (tmp_path / "GPU-bbbb").write_text("1000000")
    return tmp_path


def test_it_is_the_difference_of_the_counters_of_the_cards_that_train(driver: Path) -> None:
    assert measure(driver, 1)[0] == "0.5"


def test_cards_add_up_and_are_those_that_may_be_used(driver: Path) -> None:
    assert measure(driver, 2)[0] == "0.75"


def test_the_first_card_that_is_allowed_is_not_the_first_that_is_there(driver: Path) -> None:
    assert measure(driver, 1, CUDA_VISIBLE_DEVICES="1")[0] == "0.25"


def test_a_card_without_a_counter_leaves_the_whole_unknown(driver: Path) -> None:
    assert measure(driver, 3)[0] == "None"


def test_of_several_nodes_all_have_to_say_theirs(driver: Path) -> None:
    assert measure(driver, 2, nodes=2)[:3] == ["None", "10.75", "None"]


def test_without_gpus_or_a_driver_there_is_nothing_to_read_and_nothing_is_said(tmp_path: Path) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has a driver")
    assert measure(tmp_path, 0) == ["None", "None", "None", "False"]
    assert measure(tmp_path, 1)[:3] == ["None", "None", "None"]


@pytest.mark.slow
def test_an_attempt_that_fails_says_what_it_took(driver: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver is played, so torch finds no GPU and the attempt fails: its record has the energy all the same."""
    monkeypatch.setenv("GROWS", "1")
    monkeypatch.setenv("SIGHTLINE_WORK", str(driver / "work"))
    draw(driver / "data")
    validate = ["validate", "--data", "data", "--weights", "yolo11n.yaml", "--run", "run", "--set", "train.gpus=1"]
    assert sightline(*validate, cwd=driver).returncode == 0
    assert sightline("train", "--run", "run", cwd=driver).returncode == 1
    [log] = (driver / "work").glob("*/attempts.json")
    [attempt] = Attempts.model_validate_json(log.read_bytes()).attempts
    assert attempt.ending != "finished"
    assert attempt.energy_joules
    assert attempt.energy_joules >= 1.0
    assert attempt.energy_joules == int(attempt.energy_joules)
