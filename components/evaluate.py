"""KFP component of the stage evaluate."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.INFER, install_kfp_package=False)
def evaluate(
    export: dsl.Input[dsl.Artifact],
    snapshot: str,
    config: str,
    code: str,
    folder: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    confusion: dsl.Output[dsl.ClassificationMetrics],
):
    """Score the exported file on the test split and let the gate judge.

    Args:
        export: The ONNX file and its document.
        snapshot: URI of the snapshot.
        config: Resolved configuration.
        code: Digest of what evaluates: Sightline's source and package versions.
        folder: Scores, verdict, and the predictions of every image.
        metrics: Headline scores.
        confusion: Confusion matrix at the operating confidence.
    """
    from sightline import tasks

    tasks.evaluate(
        export=export.path,
        snapshot=snapshot,
        config=config,
        folder=folder.path,
        metrics=metrics,
        confusion=confusion,
    )
