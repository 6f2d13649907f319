"""KFP component of the stage train."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.TRAIN, install_kfp_package=False)
def train(
    snapshot: str,
    weights: str,
    config: str,
    code: str,
    folder: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
):
    """Train a detector under torchrun. All inputs are content addresses, so the same training never runs twice.

    Args:
        snapshot: URI of the snapshot.
        weights: The pinned weights with their digest, or an architecture.
        config: Resolved training configuration.
        code: Digest of what trains and exports: Sightline's source and package versions.
        folder: Checkpoints, log and history.
        metrics: Scores of the best epoch on val.
    """
    from sightline import tasks

    tasks.train(snapshot=snapshot, weights=weights, config=config, code=code, folder=folder.path, metrics=metrics)
