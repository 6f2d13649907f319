"""KFP component of the stage report."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def report(name: str, page: dsl.Output[dsl.HTML]):
    """Write the page and record the run in MLflow, out of what the stages left under the run.

    Args:
        name: What people call the run; several may be called the same.
        page: The page.
    """
    from sightline import tasks

    tasks.report(name=name, page=page.path)
