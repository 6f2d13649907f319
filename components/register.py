"""KFP component of the stage register."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def register(
    run_id: str,
    validate: dsl.Input[dsl.Artifact],
    train: dsl.Input[dsl.Artifact],
    export: dsl.Input[dsl.Artifact],
    evaluate: dsl.Input[dsl.Artifact],
    sample: dsl.Input[dsl.Artifact],
    report: dsl.Input[dsl.Artifact],
    folder: dsl.Output[dsl.Artifact],
):
    """Make the exported file a model version.

    Args:
        run_id: Identity of the pipeline run: its job's id.
        validate: The data report.
        train: Checkpoints and history.
        export: The ONNX file and its document.
        evaluate: Scores and verdict.
        sample: The gallery.
        report: The report's documents.
        folder: The model version's document.
    """
    from sightline import tasks

    tasks.register(
        run_id=run_id,
        validate=validate.path,
        train=train.path,
        export=export.path,
        evaluate=evaluate.path,
        sample=sample.path,
        report=report.path,
        folder=folder.path,
    )
