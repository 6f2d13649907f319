"""The pipeline: from labelled images to a registered detector."""

from collections.abc import Mapping
from typing import Any

from kfp import dsl
from kfp.dsl.base_component import BaseComponent

from components._parameters import form, offering_choices
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
from pipelines.options import Options
from pipelines.resources import request

NAME = dsl.PIPELINE_JOB_NAME_PLACEHOLDER  # free text, and only for tasks that are not cached


def sightline_train(options: Options) -> BaseComponent:
    """Return the pipeline; `options` are what Kubeflow Pipelines fixes when it is compiled."""

    @dsl.pipeline(name="sightline-train", pipeline_config=options.pipeline_config())
    @form
    def pipeline(**parameters: Any) -> None:
        """Validate, train, export, evaluate, sample and report; register if the gate's verdict says so."""
        _tasks(parameters, options)

    return _with_named_groups(offering_choices(pipeline))


def _with_named_groups(pipeline: BaseComponent) -> BaseComponent:
    """Name the group that KFP puts around an If with its Elif: the dashboard shows `condition-branches-2`."""
    for component in pipeline.pipeline_spec.components.values():
        for task in component.dag.tasks.values():
            if task.task_info.name.startswith("condition-branches"):
                task.task_info.name = "what the gate says"
    return pipeline


def _tasks(parameters: Mapping[str, Any], options: Options) -> None:
    ended = conclude(name=NAME)
    with dsl.ExitHandler(ended, name="run"):
        checked = validate(**parameters)
        snapshot = checked.outputs["snapshot"]
        chosen = {
            "cpu": parameters["train_cpu"],
            "memory": parameters["train_memory"],
            "gpus": parameters["train_gpus"],
            "node_selector": checked.outputs["train_node_selector"],
            "tolerations": checked.outputs["train_tolerations"],
        }
        gated = gate(verdict=checked.outputs["verdict"])
        with dsl.If(gated.output == "accepted", name="data accepted"):
            trained = train(
                snapshot=snapshot,
                weights=checked.outputs["weights"],
                config=checked.outputs["train_config"],
                code=checked.outputs["train_code"],
            )
            exported = export(
                checkpoint=trained.outputs["checkpoint"],
                snapshot=snapshot,
                config=checked.outputs["export_config"],
                code=checked.outputs["train_code"],
            )
            evaluated = evaluate(
                onnx=exported.outputs["onnx"],
                snapshot=snapshot,
                config=checked.outputs["gate_config"],
                code=checked.outputs["infer_code"],
            )
            sampled = sample(
                scores=evaluated.outputs["scores"], snapshot=snapshot, config=checked.outputs["sample_config"]
            )
            # A parameter that only a resource setter of train uses would not reach this group.
            asked = {f"train_{name}": channel for name, channel in chosen.items()}
            reported = report(name=NAME, **asked).after(sampled)
            judged = verdict().after(reported)
            with dsl.If(judged.output == "accepted", name="model accepted"):
                registered = register()
        with dsl.Elif(gated.output == "refused", name="data refused"):
            refused = refuse()

    request(trained, "train", options, chosen)
    others = (checked, gated, exported, evaluated, sampled, reported, judged, registered, refused, ended)
    for task in others:
        request(task, task.name, options)
    # The others act, or their inputs do not decide their result: data at a mutable URI, a server, what a run left.
    for task in set(others) - {exported, evaluated}:
        task.set_caching_options(False)
