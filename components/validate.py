"""KFP component of the stage validate."""

from typing import NamedTuple  # the spelled-out form is the one KFP reads

from kfp import dsl

from components import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def validate(
    data: str,
    format: str,
    policy: str,
    weights: str,
    preset: str,
    epochs: int,
    image_size: int,
    batch: int,
    gpus: str,
    model_name: str,
    min_map50: float,
    min_map50_95: float,
    seed: int,
    overrides: str,
    folder: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    page: dsl.Output[dsl.HTML],
) -> NamedTuple(
    "Resolved", [("snapshot", str), ("weights", str), ("train_config", str), ("config", str), ("code", str)]
):
    """Check data, weights and configuration, and turn the data into a content-addressed snapshot.

    Args:
        data: Directory, archive or s3:// URI of the labelled images.
        format: Annotation format: auto, yolo, coco or voc.
        policy: What the data gate tolerates: strict, default or lenient.
        weights: Starting weights.
        preset: Recipe that the configuration starts from; empty for the data's own.
        epochs: Epochs; 0 for the preset's.
        image_size: Input side in pixels; 0 for the preset's.
        batch: Images per step; 0 for the preset's.
        gpus: GPUs to train on; 0 for the CPU.
        model_name: Name in the model registry; empty for the preset's.
        min_map50: Gate on mAP50; 0 for the preset's.
        min_map50_95: Gate on mAP50-95; 0 for the preset's.
        seed: Seed of the training.
        overrides: JSON object of further dotted configuration keys.
        folder: The data report, and what passed.
        metrics: Images and boxes by split.
        page: The data report as a page.

    Returns:
        snapshot: URI of the snapshot.
        weights: URI of the pinned weights, or an architecture.
        train_config: Resolved training configuration.
        config: Resolved configuration.
        code: Digest of Sightline's source.
    """
    from sightline import tasks

    return tasks.validate(
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
        folder=folder.path,
        metrics=metrics,
        page=page.path,
    )
