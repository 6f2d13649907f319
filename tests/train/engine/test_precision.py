"""The type to compute in: which one follows for a card, and that all processes go by the first one's result."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sightline.train.engine.precision import FAILING, Card, choose, impossible
from sightline.train.launch import free_port
from tests.train.engine import precision_of_two

pytestmark = pytest.mark.xdist_group("engine precision")  # so that the engine starts once

NEW, OLD = Card("NVIDIA H200", True), Card("Tesla T4", False)


@pytest.mark.parametrize(
    ("asked", "card", "expected"),
    [
        ("auto", NEW, "bf16"),
        ("auto", OLD, "fp16"),
        ("auto", Card("NVIDIA GeForce GTX 1660 Ti", False), "off"),
        ("auto", Card("NVIDIA T400 4GB", False), "off"),
        ("auto", Card("NVIDIA A100-SXM4-40GB MIG 1g.5gb", True), "bf16"),
        ("fp16", NEW, "fp16"),
        ("fp16", Card("Quadro T2000", False), "fp16"),  # as asked; its check decides
        ("bf16", NEW, "bf16"),
        ("off", NEW, "off"),
        ("auto", None, "off"),
        ("off", None, "off"),
    ],
)
def test_the_type_follows_from_what_is_asked_and_from_the_card(asked: str, card: Card | None, expected: str) -> None:
    choice = choose(asked, card)
    assert choice.type == expected
    assert (card.name if asked == "auto" and card else "") in choice.reason


def test_bf16_is_refused_on_a_card_that_does_not_compute_it_natively() -> None:
    [problem] = impossible("bf16", OLD)
    assert problem == "train.amp: got bf16, which Tesla T4 does not compute natively; expected auto, fp16 or off"
    assert [impossible(asked, OLD) for asked in ("auto", "fp16", "off")] == [[], [], []]
    assert impossible("bf16", NEW) == []


def test_cards_that_fail_are_those_that_the_engine_knows() -> None:
    spec = importlib.util.find_spec("ultralytics")
    assert spec is not None
    assert spec.origin
    assert f'r"{FAILING.pattern}"' in (Path(spec.origin).parent / "utils" / "checks.py").read_text(encoding="utf-8")
    assert not FAILING.search("NVIDIA RTX A2000 12GB")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes under torchrun saw."""
    folder = tmp_path_factory.mktemp("two")
    precision_of_two.prepare(folder)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_addr=127.0.0.1"),
            *(f"--master_port={free_port()}", "-m", "tests.train.engine.precision_of_two", str(folder)),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"found-{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize(
    ("case", "used", "scaler"),
    [("equal cards", "bf16", False), ("another card", "fp16", True), ("a card without", "off", False)],
)
def test_all_processes_compute_in_a_type_that_each_of_them_can(
    found: list[dict[str, Any]], case: str, used: str, scaler: bool
) -> None:
    for rank in found:
        assert (rank[case]["used"], rank[case]["scaler"]) == (used, scaler)
        assert rank[case]["wrapped"] == "DistributedDataParallel"
    checks = [rank[case]["check"] for rank in found]
    assert (checks[0] is None) == (used == "off")  # the first process checks
    assert checks[1] is None


def test_a_check_that_fails_in_the_first_process_leaves_all_in_float32(found: list[dict[str, Any]]) -> None:
    first, second = (rank["failed"] for rank in found)
    assert (first["used"], second["used"]) == ("off", "off")
    assert "raw outputs correlate with those in float32 by 0.00" in first["reason"]
    assert (first["scaler"], second["scaler"]) == (False, False)


def test_processes_that_train_in_a_type_end_with_equal_weights(found: list[dict[str, Any]]) -> None:
    assert found[0]["equal cards"]["digest"] == found[1]["equal cards"]["digest"]
