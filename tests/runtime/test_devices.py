"""GPUs by number or id, within those that are allowed: what nvidia-smi lists is played by a program of that name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.errors import DeviceError
from sightline.runtime import devices, provenance

LISTED = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77)
  MIG 3g.20gb     Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)
  MIG 2g.10gb     Device  1: (UUID: MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-8a1b0d6c-aaaa-2b2c-524d-000000000001)
GPU 2: NVIDIA T4 (UUID: GPU-8a1b0d6c-bbbb-2b2c-524d-000000000002)
"""
MEMORY = """GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77, 40960
GPU-8a1b0d6c-aaaa-2b2c-524d-000000000001, 40960
GPU-8a1b0d6c-bbbb-2b2c-524d-000000000002, 15360
"""
ANSWERS = f"if [ $1 = -L ]; then cat <<'END'\n{LISTED}END\nelse cat <<'END'\n{MEMORY}END\nfi\n"
FIRST, SECOND = "GPU-8a1b0d6c-aaaa-2b2c-524d-000000000001", "GPU-8a1b0d6c-bbbb-2b2c-524d-000000000002"
SLICE = "MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb"


@pytest.fixture(autouse=True)
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two whole GPUs, and one that is divided."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvidia-smi").write_text(f"#!/bin/sh\n{ANSWERS}")
    (tmp_path / "bin" / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv(devices.VISIBLE, "")  # so that it is put back
    monkeypatch.delenv(devices.VISIBLE)


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("1", [FIRST]),
        ("2, 1", [SECOND, FIRST]),
        (SECOND, [SECOND]),
        ("GPU-8a1b0d6c-b,1", [SECOND, FIRST]),
        (SLICE, [SLICE]),
    ],
)
def test_cards_are_chosen_by_number_or_id(text: str, chosen: list[str]) -> None:
    assert devices.choose(text) == len(chosen)
    assert os.environ[devices.VISIBLE].split(",") == chosen
    assert [card.uuid for card in devices.visible()] == chosen


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "7",
            "got '7', expected numbers or UUIDs of MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f (NVIDIA A100-SXM4-40GB "
            "3g.20gb), 1 (NVIDIA A100-SXM4-40GB), 2 (NVIDIA T4)",
        ),
        ("GPU-8a1b0d6c", "got 'GPU-8a1b0d6c', expected"),  # two begin so
        ("cuda:1", "got 'cuda:1', expected"),
        ("1,", "got '', expected"),
        ("1,1", "1 is named twice in '1,1'"),
        (f"1,{FIRST}", f"{FIRST} is named twice"),
        (f"{SLICE},1", "beside a slice of MIG a process sees no other GPU: name one"),
        (f"{SLICE},MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f", "beside a slice of MIG"),
        ("0", "GPU 0 is divided by MIG, expected numbers or UUIDs of MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f (NVIDIA"),
    ],
)
def test_what_is_no_card_to_use_is_refused(text: str, words: str) -> None:
    with pytest.raises(DeviceError) as caught:
        devices.choose(text)
    assert words in str(caught.value)
    assert devices.VISIBLE not in os.environ


def test_cards_are_chosen_within_those_that_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(devices.VISIBLE, f"2,{SLICE}")
    assert provenance.visible_gpus() == ["NVIDIA T4", "NVIDIA A100-SXM4-40GB 2g.10gb"]
    with pytest.raises(
        DeviceError, match=r"got '1', but CUDA_VISIBLE_DEVICES is 2,MIG-.*: expected numbers or UUIDs of 2"
    ):
        devices.choose("1")
    assert devices.choose("2") == 1
    assert os.environ[devices.VISIBLE] == SECOND
    monkeypatch.setenv(devices.VISIBLE, "1,-1,2")  # CUDA stops at what is none
    assert provenance.visible_gpus() == ["NVIDIA A100-SXM4-40GB"]


@pytest.mark.parametrize("allowed", [None, "0", "GPU-5d5ba0d6"])
def test_a_divided_card_is_as_large_as_its_first_slice(allowed: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if allowed is not None:
        monkeypatch.setenv(devices.VISIBLE, allowed)
    assert devices.visible()[0].uuid == "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f"
    found = devices.smallest(1)
    assert found
    assert found[1] == 20 << 30


def test_a_run_refuses_cards_that_are_not_there_or_contradict_their_number(command: Callable, tmp_path: Path) -> None:
    done = command("run", "--devices", "1,5", cwd=tmp_path)
    assert done.returncode == 2
    assert "--devices: got '5', expected numbers or UUIDs of" in done.stderr
    done = command("run", "--devices", "1,2", "--gpus", "1", cwd=tmp_path)
    assert done.returncode == 2
    assert "--devices names 2 GPUs, and train.gpus is 1: leave one out" in done.stderr


def test_a_machine_without_cards_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin" / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    assert provenance.visible_gpus() == []
    with pytest.raises(DeviceError, match="got '0', expected none: this machine shows no NVIDIA GPU to use"):
        devices.choose("0")


def test_the_smallest_of_the_cards_that_are_used_counts_and_a_slice_is_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(devices.VISIBLE, "1,2")
    assert devices.smallest(1) == (devices.cards()[3], 40960 << 20)
    assert devices.smallest(2) == (devices.cards()[4], 15360 << 20)
    monkeypatch.setenv(devices.VISIBLE, f"{SLICE},1")
    assert devices.smallest(2) == (devices.cards()[2], 10 << 30)
    monkeypatch.setenv(devices.VISIBLE, "")
    assert devices.smallest(1) is None


def test_a_card_whose_memory_is_not_said_is_of_no_size(tmp_path: Path) -> None:
    (tmp_path / "bin" / "nvidia-smi").write_text(f"#!/bin/sh\n{ANSWERS.replace('15360', '[N/A]')}")
    cards = devices.visible()
    assert devices.memory(cards) == [20 << 30, 40960 << 20, None]
    assert devices.smallest(3) is None
