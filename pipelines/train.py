"""The line: from labelled images to a registered detector."""

from kfp import dsl

from components.evaluate import evaluate
from components.export import export
from components.register import register
from components.report import report
from components.sample import sample
from components.train import train
from components.validate import validate
from components.verdict import verdict
from pipelines.resources import request


@dsl.pipeline(name="sightline-train")
def sightline_train(
    data: str = "quickstart",
    format: str = "auto",
    policy: str = "default",
    weights: str = "",
    preset: str = "",
    epochs: int = 0,
    image_size: int = 0,
    batch: int = 0,
    gpus: str = "1",
    model_name: str = "",
    min_map50: float = 0.0,
    min_map50_95: float = 0.0,
    seed: int = 0,
    overrides: str = "{}",
):
    """Validate, train, export, evaluate, sample and report; register if the gate's verdict says so.

    Args:
        data: Labelled images: an s3:// URI of a folder or archive, or a mounted path. `quickstart` draws a set.
        format: Annotation format: auto, yolo, coco or voc.
        policy: What the data gate tolerates: strict, default or lenient; rule by rule with `data.policy` in overrides.
        weights: Starting weights: s3:// URI, path, official name (yolo11n.pt) or architecture to train from scratch
            (yolo11n.yaml). Empty: the preset's.
        preset: Recipe: quickstart, fast, balanced or accurate. Empty: quickstart for the drawn set, balanced for yours.
        epochs: Passes over the training split. 0: the preset's.
        image_size: Side of the square network input in pixels, a multiple of 32. 0: the preset's.
        batch: Images per step over all GPUs. 0: the preset's.
        gpus: GPUs of one node to train on, as a number in quotes. 0 trains on the CPU.
        model_name: Name in the model registry. Empty: the preset's.
        min_map50: Least mAP50 on the test split that is registered, 0 to 1. 0: the preset's.
        min_map50_95: Least mAP50-95 on the test split that is registered, 0 to 1. 0: the preset's.
        seed: Seed of weights, order and augmentation.
        overrides: JSON object of any other configuration key, such as {"train.lr0": 0.001, "gate.min_recall": 0.8}.
    """
    checked = validate(
        data=data,
        format=format,
        policy=policy,
        weights=weights,
        preset=preset,
        epochs=epochs,
        image_size=image_size,
        batch=batch,
        gpus=gpus,
        model_name=model_name,
        min_map50=min_map50,
        min_map50_95=min_map50_95,
        seed=seed,
        overrides=overrides,
    )
    snapshot, config = checked.outputs["snapshot"], checked.outputs["config"]
    trained = train(
        snapshot=snapshot,
        weights=checked.outputs["weights"],
        config=checked.outputs["train_config"],
        code=checked.outputs["code"],
    )
    exported = export(train=trained.outputs["folder"], snapshot=snapshot, config=config)
    evaluated = evaluate(export=exported.outputs["folder"], snapshot=snapshot, config=config)
    sampled = sample(
        export=exported.outputs["folder"], evaluate=evaluated.outputs["folder"], snapshot=snapshot, config=config
    )
    folders = {
        "validate": checked.outputs["folder"],
        "train": trained.outputs["folder"],
        "export": exported.outputs["folder"],
        "evaluate": evaluated.outputs["folder"],
        "sample": sampled.outputs["folder"],
    }
    reported = report(run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, name=dsl.PIPELINE_JOB_NAME_PLACEHOLDER, **folders)
    judged = verdict(evaluate=evaluated.outputs["folder"])
    with dsl.If(judged.output == "accepted", name="accepted"):
        registered = register(run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, report=reported.outputs["folder"], **folders)

    for task in (checked, trained, exported, evaluated, sampled, judged, reported, registered):
        request(task, task.name)
    trained.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(gpus)
    # Their inputs do not say all that decides their result: data or pictures at a mutable URI, a tracking server.
    for task in (checked, sampled, reported, registered):
        task.set_caching_options(False)
