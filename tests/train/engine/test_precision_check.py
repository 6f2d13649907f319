"""A type is taken for a network that computes nearly the same in it, and the check leaves no trace in the training."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers import engine_scripts

pytestmark = pytest.mark.xdist_group("engine precision check")  # so that the engine starts once


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `checked_trainings.py` saw, on a CPU; the engine is imported in a process of its own."""
    return engine_scripts.found("checked_trainings", tmp_path_factory.mktemp("checked"))


@pytest.mark.parametrize(("kind", "rounding"), [("bf16", 2**-8), ("fp16", 2**-11)])
def test_a_sound_network_passes_with_differences_of_the_size_of_rounding(
    found: dict[str, Any], kind: str, rounding: float
) -> None:
    check = found["checks"][f"sound {kind}"]
    assert (check["type"], check["problems"], check["images"]) == (kind, [], 4)
    assert rounding < check["output_difference"] < 50 * rounding
    assert check["output_tolerance"] == 100 * rounding
    assert check["output_correlation"] > 0.5
    assert 0 < check["loss_difference"] < 0.05
    assert check["largest_difference"] > 0


def test_the_loss_is_scaled_in_fp16_until_gradients_are_finite(found: dict[str, Any]) -> None:
    assert found["checks"]["sound bf16"]["loss_scale"] == 1
    assert 1 < found["checks"]["sound fp16"]["loss_scale"] <= 65536


def test_what_exceeds_fp16_fails_in_fp16_and_passes_in_bf16(found: dict[str, Any]) -> None:
    check = found["checks"]["overflowing fp16"]
    assert check["problems"] == ["raw outputs or loss are not finite"]
    assert (check["output_difference"], check["loss_difference"], check["loss_scale"]) == (None, None, None)
    assert found["checks"]["overflowing bf16"]["problems"] == []


def test_a_card_that_gives_zeros_fails_though_an_untrained_network_differs_little(found: dict[str, Any]) -> None:
    check = found["checks"]["computing wrongly bf16"]
    assert check["output_difference"] < check["output_tolerance"]
    assert check["problems"][0] == "raw outputs correlate with those in float32 by 0.00, expected 0.1"


def test_a_check_leaves_weights_statistics_generators_and_callbacks_as_they_were(found: dict[str, Any]) -> None:
    assert found["checks"]["changed"] == []


def test_with_and_without_a_check_the_same_weights_come_out(found: dict[str, Any]) -> None:
    plain, checked = (found["trained"][name] for name in ("off", "checked, then off"))
    assert checked["precision"]["check"]["problems"] == []
    assert (plain["digest"], plain["averaged"]) == (checked["digest"], checked["averaged"])


def test_layers_compute_in_the_type_in_training_and_in_validation_and_losses_in_float32(found: dict[str, Any]) -> None:
    trained = found["trained"]["bf16"]
    expected = ["Conv2d bfloat16", "Detect float32"]
    assert trained["seen"] == {"train": expected, "val": expected}
    assert (trained["loss type"], trained["scaler"], trained["says"]) == ("torch.float32", False, "bf16")
    assert trained["digest"] != found["trained"]["off"]["digest"]
    assert found["trained"]["off"]["seen"]["val"] == ["Conv2d float32", "Detect float32"]
    for name, loss in found["trained"]["off"]["losses"].items():
        assert 0 < trained["losses"][name] < 3 * loss


def test_a_network_that_fails_its_check_trains_in_float32_with_a_warning(found: dict[str, Any]) -> None:
    plain, failed = (found["trained"][f"overflowing, {kind}"] for kind in ("off", "fp16"))
    assert (failed["precision"]["used"], failed["scaler"]) == ("off", False)
    assert failed["precision"]["reason"] == "fp16 failed its check: raw outputs or loss are not finite"
    assert failed["digest"] == plain["digest"]
    assert "train.amp: fp16 failed its check: raw outputs or loss are not finite. The training goes on" in found["said"]
