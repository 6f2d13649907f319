"""KFP component of the stage export."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.TRAIN, install_kfp_package=False)
def export(
    train: dsl.Input[dsl.Artifact],
    snapshot: str,
    config: str,
    code: str,
    folder: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
):
    """Export the best checkpoint to ONNX, choose its operating confidence on val, and prove parity.

    Args:
        train: Checkpoints and history.
        snapshot: URI of the snapshot.
        config: Resolved configuration.
        code: Digest of what trains and exports: Sightline's source and package versions.
        folder: The ONNX file and its document.
        metrics: Operating confidence and parity.
    """
    from sightline import tasks

    tasks.export(train=train.path, snapshot=snapshot, config=config, folder=folder.path, metrics=metrics)
