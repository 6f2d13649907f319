"""KFP component of the stage report."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def report(
    name: str,
    train_cpu: str,
    train_memory: str,
    train_gpus: str,
    train_node_selector: dict,
    train_tolerations: list,
    run_report: dsl.Output[dsl.HTML],
):
    """Write the page and record the run in MLflow, out of what the stages left under the run.

    Args:
        name: What people call the run; several may be called the same.
        train_cpu: CPUs that training gets, such as 8 or 500m.
        train_memory: Memory that training gets.
        train_gpus: GPUs that training gets.
        train_node_selector: Labels of the nodes on which training may run.
        train_tolerations: Taints of nodes that training bears.
        run_report: The page of the run.
    """
    from sightline import tasks

    tasks.report(
        name=name,
        train_cpu=train_cpu,
        train_memory=train_memory,
        train_gpus=train_gpus,
        train_node_selector=train_node_selector,
        train_tolerations=train_tolerations,
        page=run_report.path,
    )
