"""KFP component of the stage train."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.TRAIN, install_kfp_package=False)
def train(snapshot: str, weights: str, config: str, code: str, checkpoint: dsl.Output[dsl.Model]):
    """Train a detector under torchrun. All inputs are content addresses, so the same training never runs twice.

    Args:
        snapshot: URI of the snapshot.
        weights: The pinned weights with their digest, or an architecture.
        config: Resolved training configuration.
        code: Digest of what trains and exports: Sightline's source and package versions.
        checkpoint: History and scores of the training, and where its checkpoints lie.
    """
    from sightline import tasks

    tasks.train(snapshot=snapshot, weights=weights, config=config, code=code, checkpoint=checkpoint)
