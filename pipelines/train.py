"""The pipeline: from labelled images to a registered detector."""

from typing import Any

from kfp import dsl

from components._parameters import form
from components.conclude import conclude
from components.evaluate import evaluate
from components.export import export
from components.gate import gate
from components.refuse import refuse
from components.register import register
from components.report import report
from components.sample import sample
from components.train import train
from components.validate import validate
from components.verdict import verdict
from pipelines.resources import request

NAME = dsl.PIPELINE_JOB_NAME_PLACEHOLDER  # free text, and only for tasks that are not cached


@dsl.pipeline(name="sightline-train")
@form
def sightline_train(**parameters: Any) -> None:
    """Validate, train, export, evaluate, sample and report; register if the gate's verdict says so."""
    ended = conclude(name=NAME)
    with dsl.ExitHandler(ended, name="run"):
        checked = validate(**parameters)
        snapshot, config = checked.outputs["snapshot"], checked.outputs["config"]
        train_code, infer_code = checked.outputs["train_code"], checked.outputs["infer_code"]
        gated = gate(verdict=checked.outputs["verdict"])
        with dsl.If(gated.output == "accepted", name="data accepted"):
            trained = train(
                snapshot=snapshot,
                weights=checked.outputs["weights"],
                config=checked.outputs["train_config"],
                code=train_code,
            )
            exported = export(
                checkpoint=trained.outputs["checkpoint"], snapshot=snapshot, config=config, code=train_code
            )
            evaluated = evaluate(onnx=exported.outputs["onnx"], snapshot=snapshot, config=config, code=infer_code)
            sampled = sample(scores=evaluated.outputs["scores"], snapshot=snapshot, config=config)
            reported = report(name=NAME).after(sampled)
            judged = verdict().after(reported)
            with dsl.If(judged.output == "accepted", name="model accepted"):
                registered = register()
        with dsl.Elif(gated.output == "refused", name="data refused"):
            refused = refuse()

    tasks = (checked, gated, trained, exported, evaluated, sampled, reported, judged, registered, refused, ended)
    for task in tasks:
        request(task, task.name)
        task.set_display_name(task.name)
    trained.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(parameters["gpus"])
    # The others act, or their inputs do not decide their result: data at a mutable URI, a server, what a run left.
    for task in set(tasks) - {trained, exported, evaluated}:
        task.set_caching_options(False)
