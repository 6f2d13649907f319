"""KFP component of the stage register."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def register(version: dsl.Output[dsl.Markdown]):
    """Make the exported file a model version.

    Args:
        version: The model version, in a few lines.
    """
    from sightline import tasks

    tasks.register(version=version)
