"""KFP component that runs at every end of the pipeline."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def conclude(name: str, status: dsl.PipelineTaskFinalStatus, final_report: dsl.Output[dsl.HTML]):
    """Write what happened out of what the stages left: summary, page and MLflow run.

    Args:
        name: What people call the run; several may be called the same.
        status: What the pipeline's runner says of the end; it is noted, and not relied on.
        final_report: The page of the run as it ended.
    """
    from sightline import tasks

    tasks.conclude(name=name, state=status.state, page=final_report.path)
