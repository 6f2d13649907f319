"""KFP component of the stage export."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.TRAIN, install_kfp_package=False)
def export(checkpoint: dsl.Input[dsl.Model], snapshot: str, config: str, code: str, onnx: dsl.Output[dsl.Model]):
    """Export the best checkpoint to ONNX, choose its operating confidence on val, and prove parity.

    Args:
        checkpoint: The training, and where its checkpoints lie.
        snapshot: URI of the snapshot.
        config: Resolved configuration of the export.
        code: Digest of what trains and exports: Sightline's source and package versions.
        onnx: The exported file's document, and where it lies.
    """
    from sightline import tasks

    tasks.export(checkpoint=checkpoint.path, snapshot=snapshot, config=config, onnx=onnx)
