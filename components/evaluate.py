"""KFP component of the stage evaluate."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.INFER, install_kfp_package=False)
def evaluate(onnx: dsl.Input[dsl.Model], snapshot: str, config: str, code: str, scores: dsl.Output[dsl.Metrics]):
    """Score the exported file on the test split and let the gate judge.

    Args:
        onnx: The exported file's document, and where it lies.
        snapshot: URI of the snapshot.
        config: Resolved minimums of the score gate.
        code: Digest of what evaluates: Sightline's source and package versions.
        scores: Headline scores; with them the verdict, and where the predictions of every image lie.
    """
    from sightline import tasks

    tasks.evaluate(onnx=onnx.path, snapshot=snapshot, config=config, scores=scores)
