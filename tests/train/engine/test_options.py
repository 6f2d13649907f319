"""What settings do to loader, loss, optimizer and weights: seen in trainers that the engine set up with them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.built_trainer import look

pytestmark = pytest.mark.xdist_group("engine options")  # so that the engine starts once

MIXED = {"train.augment.mosaic": 1.0, "train.augment.mixup": 0.3}
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "auto": {"train.optimizer": "auto"},
    "sgd": {"train.optimizer": "SGD", "train.warmup_momentum": 0.5},
    "rmsprop": {"train.optimizer": "RMSprop", "train.warmup_bias_lr": 0.05},
    **{name: {"train.optimizer": name} for name in ("MuSGD", "Adam", "Adamax", "NAdam", "RAdam")},
    "gains": {"train.box": 15, "train.cls": 1, "train.dfl": 0},
    "changes": {
        "train.augment.shear": 7,
        "train.augment.perspective": 0.0005,
        "train.augment.bgr": 0.5,
        "train.augment.cutmix": 0.3,
    },
    "scales": {"train.multi_scale": 0.5},
    "weighted": {"train.class_weight_power": 1.0, "train.patience": 0, "train.deterministic": False},
    "engine": {"train.engine": {"conf": 0.2, "iou": 0.5, "max_det": 77, "agnostic_nms": True}},
    "remapped": {"train.cls_remap": True},
    "in order": {"train.cls_remap": False},
    "frozen": {"train.freeze": [0, 3, "23.cv2"]},
    "backbone": {"train.freeze": 23},
    "rect": {"train.rect": True},
    "single": {"train.single_class": True},
    "uncached": MIXED,
    "ram": {**MIXED, "train.cache": "ram"},
    "disk": {**MIXED, "train.cache": "disk"},
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Facts of a trainer for each case, all from one process."""
    return look(tmp_path_factory.mktemp("built"), CASES)


@pytest.mark.parametrize("name", ["MuSGD", "Adam", "Adamax", "NAdam", "RAdam"])
def test_every_optimizer_of_the_engine_is_built(built: dict[str, dict[str, Any]], name: str) -> None:
    assert built[name]["optimizer"] == built[name]["used"]["name"] == name


def test_auto_leaves_the_choice_to_the_engine_and_tells_what_it_was(built: dict[str, dict[str, Any]]) -> None:
    # Three classes and few steps: AdamW with 0.002 · 5 / (4 + 3), and beta1 0.9 (engine/trainer.py, build_optimizer).
    assert built["auto"]["used"] == {"name": "AdamW", "lr0": 0.001429, "momentum": 0.9, "warmup_bias_lr": 0.0}
    assert built["auto"]["betas"] == [0.9, 0.999]
    assert built["auto"]["warm_up"][1]["weight"] == 0.001429


def test_biases_warm_up_from_zero_with_the_adam_family_and_from_a_tenth_with_the_others(
    built: dict[str, dict[str, Any]],
) -> None:
    first = {name: facts["warm_up"][0]["bias"] for name, facts in built.items()}
    assert {first[name] for name in ("plain", "auto", "Adam", "Adamax", "NAdam", "RAdam")} == {0.0}
    assert (first["sgd"], first["MuSGD"], first["rmsprop"]) == (0.1, 0.1, 0.05)


def test_momentum_warms_up_from_its_own_start(built: dict[str, dict[str, Any]]) -> None:
    assert [step["momentum"] for step in built["sgd"]["warm_up"]] == [0.5, 0.937]
    assert [step["momentum"] for step in built["MuSGD"]["warm_up"]] == [0.8, 0.937]


def test_gains_weigh_the_three_losses(built: dict[str, dict[str, Any]]) -> None:
    plain, weighed = built["plain"]["losses"], built["gains"]["losses"]
    assert weighed["box_loss"] == pytest.approx(2 * plain["box_loss"], rel=1e-5)
    assert weighed["cls_loss"] == pytest.approx(2 * plain["cls_loss"], rel=1e-5)
    assert weighed["dfl_loss"] == 0 < plain["dfl_loss"]


def test_image_changes_reach_the_loader(built: dict[str, dict[str, Any]]) -> None:
    changed = built["changes"]
    assert changed["affine"] == {"degrees": 0.0, "shear": 7.0, "perspective": 0.0005}
    assert (changed["bgr"], changed["mixes"]["cutmix"]) == (0.5, 0.3)
    assert changed["losses"]["box_loss"] != built["plain"]["losses"]["box_loss"]


def test_batches_take_sides_around_the_image_size(built: dict[str, dict[str, Any]]) -> None:
    assert built["plain"]["sizes"] == [[64, 64]]
    assert built["scales"]["sizes"] == [[32, 32], [64, 64], [96, 96]]


def test_classes_are_weighed_by_their_inverse_frequency(built: dict[str, dict[str, Any]]) -> None:
    facts = built["weighted"]
    inverse = [1 / count for count in facts["class_counts"]]
    mean = sum(inverse) / len(inverse)
    assert facts["class_weights"] == pytest.approx([value / mean for value in inverse], rel=1e-5)
    assert built["plain"]["class_weights"] is None
    assert facts["losses"]["cls_loss"] != built["plain"]["losses"]["cls_loss"]
    assert facts["losses"]["box_loss"] == built["plain"]["losses"]["box_loss"]


def test_patience_zero_never_stops_a_training_early(built: dict[str, dict[str, Any]]) -> None:
    assert (built["weighted"]["patience"], built["plain"]["patience"]) == ("inf", "100")


def test_operations_are_deterministic_unless_that_is_switched_off(built: dict[str, dict[str, Any]]) -> None:
    assert (built["plain"]["deterministic"], built["weighted"]["deterministic"]) == (True, False)


def test_settings_of_the_engine_reach_val(built: dict[str, dict[str, Any]]) -> None:
    assert built["engine"]["val"] == {"conf": 0.2, "iou": 0.5, "max_det": 77, "agnostic_nms": True}
    assert built["plain"]["val"] == {"conf": 0.001, "iou": 0.7, "max_det": 300, "agnostic_nms": False}


def test_a_class_begins_with_the_weights_of_its_name_unless_that_is_switched_off(
    built: dict[str, dict[str, Any]],
) -> None:
    assert built["remapped"]["rows"] == [2, 1, 0]
    assert built["in order"]["rows"] == [0, 1, 2]


def test_what_is_frozen_does_not_move_and_all_else_does(built: dict[str, dict[str, Any]]) -> None:
    frozen, whole = built["frozen"], {*built["plain"]["moved"], *built["plain"]["still"]}
    chosen = {name for name in whole if name.startswith(("model.0.", "model.3.", "model.23.cv2.", "model.23.dfl."))}
    assert (set(frozen["still"]), set(frozen["moved"])) == (chosen, whole - chosen)
    assert {name.split(".")[1] for name in built["backbone"]["moved"]} == {"23"}
    assert len(set(built["plain"]["moved"]) & chosen) > 20


def test_rect_batches_have_one_shape_and_come_in_the_order_of_shapes(built: dict[str, dict[str, Any]]) -> None:
    assert built["rect"]["shapes"] == [[[32, 64], [64, 64], [64, 64]]] * 2
    first, second = built["rect"]["orders"]
    assert first == second
    assert len(set(first)) == 24
    mixed, other = built["plain"]["orders"]
    assert mixed != other
    assert sorted(mixed) == sorted(first)


def test_images_that_are_kept_decoded_give_the_same_training(built: dict[str, dict[str, Any]]) -> None:
    assert built["uncached"]["pixels"] == built["ram"]["pixels"] == built["disk"]["pixels"]
    assert built["uncached"]["pixels"] != built["plain"]["pixels"]
    assert [built[name]["in_memory"] for name in ("uncached", "ram", "disk")] == [False, True, False]


def test_what_is_kept_lies_in_the_folder_of_the_training_alone(built: dict[str, dict[str, Any]]) -> None:
    assert built["ram"]["kept"] == built["plain"]["kept"] == ["train.cache", "val.cache"]
    arrays = [name for name in built["disk"]["kept"] if name.endswith(".npy")]
    assert (len(arrays), {name.partition("/")[0] for name in arrays}) == (32, {"train", "val"})
    assert built["disk"]["beside"] == ["train.cache"]  # the trap that was there


def test_no_pickle_of_others_is_loaded(built: dict[str, dict[str, Any]]) -> None:
    assert not any(facts["sprung"] for facts in built.values())


def test_all_classes_are_one_object(built: dict[str, dict[str, Any]]) -> None:
    assert built["single"]["names"] == {"0": "object"}
    assert built["single"]["class_counts"] == [sum(built["plain"]["class_counts"])]
    assert len(built["single"]["rows"]) == 1
    assert built["single"]["orders"] == built["plain"]["orders"]
