"""KFP component that hands the gate's verdict to the pipeline's condition."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def verdict(evaluate: dsl.Input[dsl.Artifact]) -> str:
    """Return the verdict as the only output: the form that a condition can rely on, locally and on a cluster.

    Args:
        evaluate: Scores and verdict.

    Returns:
        Output: `accepted` or `rejected`.
    """
    from sightline import tasks

    return tasks.verdict(evaluate=evaluate.path)
