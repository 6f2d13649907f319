"""KFP component of the stage sample."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.INFER, install_kfp_package=False)
def sample(scores: dsl.Input[dsl.Metrics], snapshot: str, config: str):
    """Draw what the exported file finds in test images and in pictures of your own, with a finding for each.

    Its detections in test images must be those that evaluate found. The page of the run shows the drawings.

    Args:
        scores: The evaluation, whose predictions choose the images.
        snapshot: URI of the snapshot.
        config: Resolved configuration of the gallery.
    """
    from sightline import tasks

    tasks.sample(scores=scores.path, snapshot=snapshot, config=config)
