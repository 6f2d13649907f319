"""The pipeline: from labelled images to a registered detector."""

from collections.abc import Mapping
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components._parameters import form, offering_choices
from components.evaluate import evaluate
from components.export import export
from components.register import register
from components.report import report
from components.sample import sample
from components.train import train
from components.validate import validate
from components.verdict import verdict
from pipelines.options import Options
from pipelines.resources import request


def sightline_train(options: Options) -> BaseComponent:
    """Return the pipeline; `options` are what Kubeflow Pipelines fixes when it is compiled."""

    @dsl.pipeline(name="sightline-train", pipeline_config=options.pipeline_config())
    @form
    def pipeline(**parameters: Any) -> None:
        """Validate, train, export, evaluate, sample and report; register if the gate's verdict says so."""
        _stages(parameters, options)

    return offering_choices(pipeline)


def _stages(parameters: Mapping[str, Any], options: Options) -> None:
    checked = validate(**parameters)
    snapshot, config = checked.outputs["snapshot"], checked.outputs["config"]
    train_code, infer_code = checked.outputs["train_code"], checked.outputs["infer_code"]
    trained = train(
        snapshot=snapshot,
        weights=checked.outputs["weights"],
        config=checked.outputs["train_config"],
        code=train_code,
    )
    exported = export(train=trained.outputs["folder"], snapshot=snapshot, config=config, code=train_code)
    evaluated = evaluate(export=exported.outputs["folder"], snapshot=snapshot, config=config, code=infer_code)
    sampled = sample(
        export=exported.outputs["folder"], evaluate=evaluated.outputs["folder"], snapshot=snapshot, config=config
    )
    folders = {
        "validate": checked.outputs["folder"],
        "train": trained.outputs["folder"],
        "export": exported.outputs["folder"],
        "evaluate": evaluated.outputs["folder"],
        "sample": sampled.outputs["folder"],
    }
    chosen = {
        "cpu": parameters["train_cpu"],
        "memory": parameters["train_memory"],
        "gpus": parameters["train_gpus"],
        "node_selector": checked.outputs["train_node_selector"],
        "tolerations": checked.outputs["train_tolerations"],
    }
    reported = report(
        run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        name=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
        **{f"train_{name}": channel for name, channel in chosen.items()},
        **folders,
    )
    judged = verdict(evaluate=evaluated.outputs["folder"])
    with dsl.If(judged.output == "accepted", name="accepted"):
        registered = register(run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, report=reported.outputs["folder"], **folders)

    for task in (checked, exported, evaluated, sampled, judged, reported, registered):
        request(task, task.name, options)
    request(trained, "train", options, chosen)
    # Their inputs do not decide their result (data or pictures at a mutable URI, a tracking server, the code).
    for task in (checked, sampled, reported, judged, registered):
        task.set_caching_options(False)
