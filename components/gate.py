"""KFP component that hands validate's verdict to the pipeline's conditions."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def gate(verdict: str) -> str:
    """Return validate's verdict as the only output: the form that a condition can rely on, locally and on a cluster.

    Args:
        verdict: `accepted`, `refused` or `unchanged`.

    Returns:
        Output: The same.
    """
    from sightline import tasks

    return tasks.gate(verdict=verdict)
