"""KFP component that hands the score gate's verdict to the pipeline's condition."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def verdict() -> str:
    """Return the score gate's verdict as the only output: the form that a condition can rely on.

    Returns:
        Output: `accepted` or `rejected`.
    """
    from sightline import tasks

    return tasks.verdict()
