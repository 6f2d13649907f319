"""The faults of `make faults`, of which the quickest are played in every run of the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.cases import CASES, Case
from tests.faults.stand import Stand

# One process plays them all: each takes both cores, and they share a set that is drawn and validated once.
pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("faults")]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the set lies that all cases train on."""
    return tmp_path_factory.mktemp("faults")


def listed(case: Case) -> object:
    return pytest.param(case, marks=[] if case.quick else [pytest.mark.slow], id=case.name)


@pytest.mark.parametrize("case", [listed(each) for each in CASES.values()])
def test_a_fault_ends_with_a_trained_model_or_one_clear_message(case: Case, tmp_path: Path, base: Path) -> None:
    stand = Stand(tmp_path / case.name, base)
    try:
        case.play(stand)
    finally:
        stand.close()


def test_three_are_quick_enough_for_every_run_of_the_tests() -> None:
    assert sum(each.quick for each in CASES.values()) == 3
