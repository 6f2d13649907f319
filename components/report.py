"""KFP component of the stage report."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def report(
    run_id: str,
    name: str,
    train_cpu: str,
    train_memory: str,
    train_gpus: str,
    train_node_selector: dict,
    train_tolerations: list,
    validate: dsl.Input[dsl.Artifact],
    train: dsl.Input[dsl.Artifact],
    export: dsl.Input[dsl.Artifact],
    evaluate: dsl.Input[dsl.Artifact],
    sample: dsl.Input[dsl.Artifact],
    folder: dsl.Output[dsl.Artifact],
    page: dsl.Output[dsl.HTML],
):
    """Write the page and record the run in MLflow.

    Args:
        run_id: Identity of the pipeline run: its job's id.
        name: What people call the run; several may be called the same.
        train_cpu: CPUs that training gets, such as 8 or 500m.
        train_memory: Memory that training gets.
        train_gpus: GPUs that training gets.
        train_node_selector: Labels of the nodes on which training may run.
        train_tolerations: Taints of nodes that training bears.
        validate: The data report.
        train: Checkpoints and history.
        export: The ONNX file and its document.
        evaluate: Scores and verdict.
        sample: The gallery.
        folder: The report's documents.
        page: The page.
    """
    from sightline import tasks

    tasks.report(
        run_id=run_id,
        name=name,
        validate=validate.path,
        train=train.path,
        export=export.path,
        evaluate=evaluate.path,
        sample=sample.path,
        folder=folder.path,
        page=page.path,
    )
