"""Configuration: dotted keys, presets, and mistakes that explain themselves."""

from __future__ import annotations

import pytest

from sightline.config import RunConfig, TrainConfig, freezing, sides, single_image_batch
from sightline.config.assignments import keys, parse_assignments
from sightline.config.presets import PRESETS, resolve
from sightline.errors import ConfigError


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_is_whole_and_survives_json(preset: str) -> None:
    config = resolve(preset, {})
    assert config.preset == preset
    assert RunConfig.model_validate_json(config.json_text()) == config


def test_every_key_has_a_meaning() -> None:
    assert len(list(keys())) > 40
    for part in ("train", "gate", "export", "data", "weights", "sample", "register_", "retrain"):
        for name, field in type(getattr(RunConfig(), part)).model_fields.items():
            assert field.description, f"{part}.{name}"


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("balanced", {"train.epoch": 1, "train.batch": "x", "gate.min_map50": 2, "train.image_size": 100})
    text = str(caught.value)
    assert "did you mean 'train.epochs'?" in text
    assert "train.batch: got 'x'" in text
    assert "gate.min_map50: got 2" in text
    assert "multiple of 32" in text


def test_batch_must_be_shared_evenly() -> None:
    with pytest.raises(ConfigError, match="batch 15 cannot be shared evenly by 2 processes"):
        resolve("fast", {"train.batch": 15, "train.gpus": 2})


def test_values_are_yaml_scalars() -> None:
    assert parse_assignments(["train.epochs=3", "gate.min_map50=null", "train.cosine=true", "data.format=voc"]) == {
        "train.epochs": 3,
        "gate.min_map50": None,
        "train.cosine": True,
        "data.format": "voc",
    }


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("register.alias=latest", "which MLflow reserves"),
        ("register.alias=Latest", "which MLflow reserves"),
        ("register.alias=V12", "which MLflow reserves"),
        (f"register.alias={'a' * 256}", "… of 256 characters, expected at most 255 letters"),
        (f"register.experiment={'x' * 600}", "… of 600 characters, expected 1 to 256 characters"),
        ("register.experiment='  '", "not only spaces"),
        ('register.experiment="a\\nb"', "that can be printed"),
        ("register.model_name=a/b", "expected at most 256 letters"),
        ("train.epochs=true", "train.epochs: got true, expected a value, not a switch"),
        ("train.lr0=on", "train.lr0: got true, expected a value, not a switch"),
        ("train.lr0=1e-320", "train.lr0: got 1e-320, expected a number, at least 1e-08 and at most 1"),
        ("train.lrf=1e-320", "train.lrf: got 1e-320, expected a number, at least"),
        (
            "train.warmup_epochs=1e308",
            "train.warmup_epochs: got 1e+308, expected a number, at least 0 and at most",
        ),
        (f"train.patience={10**38}", "expected a whole number, at least 0 and at most 10000"),
        ("train.optimizer=Sgd", "train.optimizer: got 'Sgd', expected auto, SGD, MuSGD, Adam, Adamax, AdamW, NAdam"),
        ("train.warmup_bias_lr=2", "train.warmup_bias_lr: got 2, expected a number, at least 0 and at most 1"),
        ("train.warmup_momentum=1", "train.warmup_momentum: got 1, expected a number, at least 0 and below 1"),
        ("train.box=-1", "train.box: got -1, expected a number, at least 0 and at most 100"),
        ("train.max_hours=0", "train.max_hours: got 0, expected a number, above 0 and at most 10000"),
        ("train.engine={time: 3}", "train.engine: time: is train.max_hours here"),
        ("train.multi_scale=1.5", "train.multi_scale: got 1.5, expected a number, at least 0 and at most 1"),
        ("train.class_weight_power=2", "train.class_weight_power: got 2, expected a number, at least 0 and at most 1"),
        ("train.deterministic=often", "train.deterministic: got 'often', expected true or false"),
        ("train.augment.shear=90", "train.augment.shear: got 90, expected a number, at least 0 and at most 45"),
        ("train.augment.perspective=0.1", "train.augment.perspective: got 0.1, expected a number, at least 0"),
        ("train.augment.bgr=2", "train.augment.bgr: got 2, expected a number, at least 0 and at most 1"),
        ("train.augment.cutmix=2", "train.augment.cutmix: got 2, expected a number, at least 0 and at most 1"),
        ("train.compile=true", "unknown key 'train.compile': it needs a C compiler"),
        ("train.label_smoothing=0.1", "unknown key 'train.label_smoothing': the engine has it no longer"),
        ("train.conf=0.1", "unknown key 'train.conf'; did you mean 'train.engine.conf'?"),
        ("train.engine={llrd: 0.9}", "train.engine: llrd: is train.llrd here"),
        ("train.engine={half: true}", "train.engine: half: refused, because what ships"),
        ("train.engine={max-det: 5}", "train.engine: max-det: is no setting of the engine; did you mean 'max_det'?"),
        ("train.engine.max-det=5", "train.engine: max-det: is no setting of the engine; did you mean 'max_det'?"),
        ("train.imgsz=640", "unknown key 'train.imgsz'; did you mean 'train.image_size'?"),
        ("train.batch-size=4", "unknown key 'train.batch-size'; did you mean 'train.batch'?"),
        ("train.hyp.cls_pw=1", "unknown key 'train.hyp.cls_pw'; did you mean 'train.class_weight_power'?"),
        ("train.mosaic=1", "unknown key 'train.mosaic'; did you mean 'train.augment.mosaic'?"),
        (f"train.nominal_batch={10**38}", "expected a whole number, at least 1 and at most 65536"),
        (f"train.augment.close_mosaic={10**38}", "expected a whole number, at least 0 and at most 10000"),
        (f"train.freeze={10**38}", "expected a whole number of leading layers, or a list of layers and names"),
        ("train.freeze=-1", "train.freeze: got -1, expected a whole number of leading layers"),
        ("train.freeze=true", "train.freeze: got true, expected a value, not a switch"),
        ("train.freeze=[]", "train.freeze: got [], expected a whole number of leading layers"),
        ("train.freeze=22.cv2", "train.freeze: got '22.cv2', expected a whole number of leading layers, or a list"),
        ("train.freeze=[model.22]", "names of parts such as [0, 1, 22.cv2]; layers count from 0"),
        ("train.freeze=[1, true]", "train.freeze: got [1, True], expected"),
        ("train.freeze=[-1]", "train.freeze: got [-1], expected"),
        ("export.tolerance=1e-300", "export.tolerance: got 1e-300, expected a number, at least 0.001 and at most 1"),
        ("train.epochs=1:30", "train.epochs: got '1:30', expected a whole number"),
        ("train.lr0=1:30.5", "train.lr0: got '1:30.5', expected a number"),
        ("train.epochs=2026-11-21", "train.epochs: got '2026-11-21', expected a whole number"),
        ("register.alias=", "register.alias: got '', expected at most 255 letters"),
        ("register.alias=null", "register.alias: got null, expected text"),
        ("weights.source=", "weights.source: got '', expected text that is not empty"),
        ("weights.sha256=ABC", "weights.sha256: got 'ABC', expected a sha256: 64 digits 0 to 9 and a to f"),
        ("data.format=json", "data.format: got 'json', expected auto, yolo, coco or voc"),
        ("data.voc_origin=2", "data.voc_origin: got 2, expected 0 or 1"),
        ("weights.trust=maybe", "weights.trust: got 'maybe', expected true or false"),
        ("train.lr0=.nan", "train.lr0: got nan, expected a number"),
        ("train.recover=on", "train.recover: got 'on', expected off, batch or all"),
        ("train.recover=never", "train.recover: got 'never', expected off, batch or all"),
        ("train.cache=true", "train.cache: got 'on', expected off, ram or disk"),
        ("train.save_period=-1", "train.save_period: got -1, expected a whole number, at least 0"),
        ("train.amp=fp32", "train.amp: got 'fp32', expected auto, bf16, fp16 or off"),
        ("train.llrd=2", "train.llrd: got 2, expected off, on (which is 0.9) or a number between 0 and 1"),
        ("train.llrd=1", "train.llrd: got 1, expected off, on (which is 0.9) or a number between 0 and 1"),
        ("train.llrd=.nan", "train.llrd: got nan, expected off"),
        ("train.llrd='0.8'", "train.llrd: got '0.8', expected off"),
        ("train.hook=hooks.py", "train.hook: got 'hooks.py', expected the names of a module and of a function in it"),
        ("train.hook=./hooks:f", "train.hook: got './hooks:f', expected the names of a module and of a function"),
        ("train.hook=a..b:f", "train.hook: got 'a..b:f', expected the names of a module"),
        ("train.hook=a:b:c", "such as project.hooks:freeze_backbone"),
        ("train.hook=''", "train.hook: got '', expected the names of a module"),
    ],
)
def test_what_mlflow_or_training_would_refuse_later_is_refused_here(assignment: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("fast", parse_assignments([assignment]))
    assert words in str(caught.value)


def test_a_digest_in_capitals_is_the_same_digest() -> None:
    digest = "F59B3D833E2FF32E194B5BB8E08D211DC7C5BDF144B90D2C8412C47CCFC83B36"
    assert resolve("fast", parse_assignments([f"weights.sha256={digest}"])).weights.sha256 == digest.lower()


def test_numbers_mean_what_everybody_reads() -> None:
    texts = ["1:30", "010", "1e-3", "1.5", "-7", "0x10", "2.5E+2", ".5", "0", "1_000"]
    values = [parse_assignments([f"train.epochs={text}"])["train.epochs"] for text in texts]
    assert values == ["1:30", "010", 0.001, 1.5, -7, 16, 250.0, 0.5, 0, 1000]


def test_the_last_batch_is_what_the_others_leave_over() -> None:
    def left(images: int, batch: int, processes: int = 1) -> int:
        return TrainConfig(batch=batch, cpu_processes=processes).last_batch(images)

    assert [left(144, 11), left(144, 16), left(145, 16), left(1, 16), left(9, 1)] == [1, 16, 1, 1, 1]
    assert [left(143, 22, 2), left(144, 22, 2), left(145, 8, 4)] == [6, 6, 1]  # 72 images each; 37 each


def test_gpus_and_cpu_processes_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match="gpus is 2 and cpu_processes 4: expected one of them"):
        resolve("fast", {"train.gpus": 2, "train.cpu_processes": 4})


def test_batch_normalisation_is_synchronized_on_gpus_alone() -> None:
    with pytest.raises(ConfigError, match="sync_bn is true and gpus 0: expected false"):
        resolve("fast", {"train.sync_bn": True, "train.cpu_processes": 2})
    assert resolve("fast", {"train.sync_bn": True, "train.gpus": 2}).train.sync_bn


def test_a_key_of_text_takes_what_is_written() -> None:
    assert parse_assignments(
        [
            "register.experiment=2026-11-21",
            "register.model_name=007",
            "register.experiment =a: b #c",
            "data.images=null",
        ]
    ) == {
        "register.experiment": "a: b #c",
        "register.model_name": "007",
        "data.images": None,
    }
    config = resolve("fast", parse_assignments(["register.experiment='tonight''s run'", "register.alias=vision"]))
    assert (config.register_.experiment, config.register_.alias) == ("tonight's run", "vision")


def test_a_batch_is_shared_by_the_processes_of_all_nodes() -> None:
    config = resolve("fast", {"train.nodes": 3, "train.cpu_processes": 2, "train.batch": 24}).train
    assert (config.node_processes, config.world_size) == (2, 6)
    with pytest.raises(ConfigError, match=r"batch 16 cannot be shared evenly by 6 processes \(2 on each of 3 nodes\)"):
        resolve("fast", {"train.nodes": 3, "train.gpus": 2})
    with pytest.raises(ConfigError, match=r"train\.nodes: got 0, expected a whole number, at least 1 and at most 64"):
        resolve("fast", {"train.nodes": 0})


def test_off_is_a_word_where_it_is_one_of_the_choices() -> None:
    train = resolve("fast", parse_assignments(["train.recover=off", "train.cache=off"])).train
    assert (train.recover, train.cache) == ("off", "off")
    train = resolve("fast", parse_assignments(["train.recover='off'", "train.cache=ram"])).train
    assert (train.recover, train.cache) == ("off", "ram")


def test_a_hook_is_a_function_of_a_module() -> None:
    for hook in ("hooks:on", "project.hooks:freeze_backbone", "é:f"):
        assert resolve("fast", parse_assignments([f"train.hook={hook}"])).train.hook == hook
    assert resolve("fast", parse_assignments(["train.hook=null"])).train.hook is None


def test_what_auto_chooses_cannot_be_given_beside_it() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("fast", {"train.optimizer": "auto", "train.lr0": 0.01, "train.momentum": 0.9})
    assert "train.lr0: got 0.01, but train.optimizer auto chooses it: leave it out" in str(caught.value)
    assert "train.momentum: got 0.9, but" in str(caught.value)
    assert resolve("fast", {"train.optimizer": "auto"}).train.bias_rate == 0


def test_biases_of_the_adam_family_start_at_zero_unless_a_rate_is_given() -> None:
    rates = {name: TrainConfig(optimizer=name).bias_rate for name in ("AdamW", "Adamax", "auto", "SGD", "RMSprop")}
    assert rates == {"AdamW": 0, "Adamax": 0, "auto": 0, "SGD": 0.1, "RMSprop": 0.1}
    assert TrainConfig(optimizer="AdamW", warmup_bias_lr=0.05).bias_rate == 0.05


def test_sides_of_a_training_at_several_scales_are_multiples_of_the_stride() -> None:
    assert [sides(640, scale) for scale in (0, 0.25, 0.5, 1)] == [(640, 640), (480, 800), (320, 960), (32, 1280)]
    assert sides(640, 0.33) == (416, 864)
    [problem] = single_image_batch(96, 11, multi_scale=0.5)
    assert "got 96 with train.batch 11 and train.multi_scale 0.5" in problem
    assert single_image_batch(96, 11, multi_scale=0.25) == []


def test_layers_are_frozen_by_count_index_or_name() -> None:
    for freeze in (0, 10, [0], [3, "22.cv2", "5"]):
        config = resolve("fast", {"train.freeze": freeze})
        assert config.train.freeze == freeze
        assert RunConfig.model_validate_json(config.json_text()) == config
    assert resolve("fast", parse_assignments(["train.freeze=[0, 22.cv2]"])).train.freeze == [0, "22.cv2"]


def test_a_network_is_asked_for_what_is_to_be_frozen() -> None:
    names = [f"model.{layer}.{part}.conv.weight" for layer in range(4) for part in ("cv1", "cv2")]
    names.append("model.3.dfl.conv.weight")
    assert freezing.beyond(3, 4, "it") == freezing.unmatched(3, names) == []
    assert freezing.beyond([4, "9.cv2", 0], 4, "it") == ["train.freeze: got 4, 9.cv2, but it has 4 layers, 0 to 3"]
    assert freezing.beyond([0, 1, 2, "3"], 4, "it") == [
        "train.freeze: got all 4 layers of it, which leaves nothing to train"
    ]
    assert freezing.unmatched(["3.cv9", "3.cv2", "2.cv1.con"], names) == [
        "train.freeze: '3.cv9' fits no parameter of the network; did you mean '3.cv2'?",
        "train.freeze: '2.cv1.con' fits no parameter of the network; did you mean '2.cv1.conv'?",
    ]
    assert freezing.unmatched([0, 1, 2, "3.cv1", "3.cv2"], names) == [
        "train.freeze: everything is frozen, which leaves nothing to train"
    ]


def test_a_single_class_has_no_others_to_weigh() -> None:
    with pytest.raises(ConfigError, match=r"single_class is true and class_weight_power 0\.5: expected 0"):
        resolve("fast", {"train.single_class": True, "train.class_weight_power": 0.5})


@pytest.mark.parametrize("switch", [True, 1, "yes", "True"])
def test_rect_ends_a_presets_mixes_however_it_is_switched_on(switch: object) -> None:
    assert resolve("accurate", {"train.rect": switch}).train.augment.mosaic == 0


def test_engine_settings_in_place_of_which_there_is_something_else_are_refused() -> None:
    for wrong in (5, None, "fast"):
        with pytest.raises(ConfigError, match="expected settings of the engine with their values"):
            resolve("fast", {"train.engine": wrong, "train.engine.max_det": 3})


def test_rect_ends_a_presets_mixes_and_refuses_those_that_are_asked_for() -> None:
    augment = resolve("accurate", {"train.rect": True}).train.augment
    assert (augment.mosaic, augment.mixup, augment.cutmix) == (0, 0, 0)
    with pytest.raises(ConfigError, match=r"train: rect is true beside augment\.mosaic, which it ends: expected 0"):
        resolve("accurate", {"train.rect": True, "train.augment.mosaic": 0.5})
    with pytest.raises(ConfigError, match="rect is true with 2 processes: expected one process"):
        resolve("fast", {"train.rect": True, "train.cpu_processes": 2})


@pytest.mark.parametrize(
    ("text", "value"), [("on", 0.9), ("true", 0.9), ("off", "off"), ("'off'", "off"), ("0.75", 0.75)]
)
def test_the_decay_by_layers_is_a_switch_or_a_number(text: str, value: str | float) -> None:
    assert resolve("fast", parse_assignments([f"train.llrd={text}"])).train.llrd == value


@pytest.mark.parametrize(
    ("text", "value"), [("true", "auto"), ("on", "auto"), ("false", "off"), ("off", "off"), ("auto", "auto")]
)
def test_mixed_precision_is_still_a_switch_too(text: str, value: str) -> None:
    assert resolve("fast", parse_assignments([f"train.amp={text}"])).train.amp == value


@pytest.mark.parametrize("kind", ["bf16", "fp16"])
def test_a_type_is_asked_of_gpus_alone(kind: str) -> None:
    with pytest.raises(ConfigError, match=f"amp is {kind} and gpus 0: expected auto or off, since CPUs compute in flo"):
        resolve("fast", {"train.amp": kind})
    assert resolve("fast", {"train.amp": kind, "train.gpus": 1}).train.amp == kind
