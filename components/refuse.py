"""KFP component that ends a run whose data was refused as failed."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def refuse():
    """Say why the data was refused, and fail: validate itself succeeds, so that its page can be seen."""
    from sightline import tasks

    tasks.refuse()
