"""KFP component of the stage sample."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.INFER, install_kfp_package=False)
def sample(
    export: dsl.Input[dsl.Artifact],
    evaluate: dsl.Input[dsl.Artifact],
    snapshot: str,
    config: str,
    folder: dsl.Output[dsl.Artifact],
):
    """Draw what the exported file finds in test images and in pictures of your own, with a finding for each.

    Its detections in test images must be those that evaluate found.

    Args:
        export: The ONNX file and its document.
        evaluate: The predictions that choose the images.
        snapshot: URI of the snapshot.
        config: Resolved configuration.
        folder: The gallery.
    """
    from sightline import tasks

    tasks.sample(export=export.path, evaluate=evaluate.path, snapshot=snapshot, config=config, folder=folder.path)
