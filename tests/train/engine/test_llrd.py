"""With `train.llrd` each layer learns at a fraction of the next one's rate; all else is as the engine has it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers import engine_scripts

pytestmark = pytest.mark.xdist_group("engine llrd")  # so that the engine starts once

DECAY, LAYERS = 0.8, 24  # of yolo11n
OPTIMIZERS = ("SGD", "MuSGD", "Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSprop")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `decayed_trainings.py` saw; the engine is imported in a process of its own."""
    return engine_scripts.found("decayed_trainings", tmp_path_factory.mktemp("decayed"))


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_layer_has_the_engines_rate_times_the_decay_for_each_layer_behind_it(
    found: dict[str, Any], optimizer: str, schedule: str
) -> None:
    """In warm-up, where biases fall from their own start, at its end, and in each epoch after it."""
    plain, decayed = (it["parameters"] for it in found["rates"][f"{optimizer} {schedule}"])
    assert plain.keys() == decayed.keys()
    for name, before in plain.items():
        factor = DECAY ** (LAYERS - 1 - int(name.split(".")[1]))
        assert decayed[name]["rates"] == pytest.approx([rate * factor for rate in before["rates"]], rel=1e-9), name
        assert len(before["rates"]) == 9
        assert decayed[name]["options"] == before["options"], name


def test_the_schedules_that_are_compared_move(found: dict[str, Any]) -> None:
    rates = {
        name: both[0]["parameters"]["model.23.cv2.0.2.bias"]["rates"]
        for name, both in found["rates"].items()
        if name.startswith("SGD")
    }
    assert rates["SGD linear"][:3] == pytest.approx([0.1, 0.085, 0.01])
    assert all(len(set(each[3:])) == 6 for each in rates.values())
    assert rates["SGD linear"][5] != rates["SGD cosine"][5]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_table_has_three_rates_and_they_are_the_heads(found: dict[str, Any], optimizer: str) -> None:
    plain, decayed = found["rates"][f"{optimizer} linear"]
    assert decayed["columns"] == plain["columns"]
    names = ("model.23.cv2.0.2.weight", "model.23.cv2.0.0.bn.weight", "model.23.cv2.0.2.bias")
    expected = [decayed["parameters"][name]["rates"] for name in names]
    assert [list(row.values()) for row in decayed["columns"]] == [list(row) for row in zip(*expected, strict=True)]
    assert list(decayed["columns"][0]) == ["lr/pg0", "lr/pg1", "lr/pg2"]


@pytest.mark.parametrize("optimizer", ["AdamW", "MuSGD"])
def test_a_training_that_stops_and_goes_on_is_the_same_bit_for_bit(found: dict[str, Any], optimizer: str) -> None:
    whole, resumed = found["trained"][optimizer]
    assert whole["digest"] == resumed["digest"]  # of weights, rates and the optimizer's state
    assert whole["layers"] == resumed["layers"]
    header, *rows = whole["table"].splitlines()
    assert [name for name in header.split(",") if name.startswith("lr/")] == ["lr/pg0", "lr/pg1", "lr/pg2"]
    assert len(rows) == 2


@pytest.mark.parametrize("optimizer", ["AdamW", "MuSGD"])
def test_the_document_has_the_rate_of_each_layer_and_none_for_frozen_ones(
    found: dict[str, Any], optimizer: str
) -> None:
    layers = found["trained"][optimizer][0]["layers"]
    assert [layer["layer"] for layer in layers] == list(range(LAYERS))
    assert (layers[0]["module"], layers[-1]["module"]) == ("Conv", "Detect")
    assert [layer["rate"] for layer in layers[:2]] == [None, None]  # train.freeze is 2
    assert layers[2]["rate"] == pytest.approx(0.004 * DECAY**21)
    assert layers[-1]["rate"] == 0.004
    assert [layer["rate"] for layer in layers if layer["module"] in ("Upsample", "Concat")] == [None] * 6
