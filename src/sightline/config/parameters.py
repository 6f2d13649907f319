"""What a person fills in to start a pipeline, declared once.

The dashboard's form, the inputs of the component validate and the configuration keys behind them are made from
this class (`components/_parameters.py`). The form lists names by alphabet, each with its default and nothing else: so
names that belong together begin alike, and a default is a word that says what it means.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, model_validator

from sightline.config import cluster_values
from sightline.config.assignments import explained
from sightline.config.cluster_names import GPU
from sightline.config.form_values import (
    AUTO,
    NONE,
    PRESET,
    Choices,
    NodeSelector,
    NumberOrPreset,
    Overrides,
    Sets,
    Text,
    TierOrAuto,
    Tolerations,
    Whole,
    WholeOrPreset,
)
from sightline.config.part import Part
from sightline.config.presets import PRESETS, preset_for, resolve
from sightline.config.run_config import FORMATS, RETRAIN, RunConfig
from sightline.config.sizing import TIER_NAMES, Tier
from sightline.errors import ConfigError, did_you_mean
from sightline.policy import BASES

NVIDIA = {"key": GPU, "operator": "Exists", "effect": "NoSchedule"}  # as its GPU nodes are tainted


class PipelineParameters(Part):
    """The parameters of the pipeline: all of them text, as the form holds them; numbers are taken as well.

    An emptied field of the form, and so an empty text, is the default; only the data has to be named.
    """

    data: str = Field(
        "quickstart",
        min_length=1,
        description="Labelled images: an s3:// URI of a folder or archive, or a mounted path. quickstart draws a set.",
    )
    data_format: Annotated[str, Sets("data.format"), Choices((AUTO, *FORMATS))] = Field(
        AUTO, description="Annotation format: yolo, coco or voc; auto recognises it."
    )
    data_policy: Annotated[str, Sets("data.policy"), Choices(BASES)] = Field(
        "default",
        description="What the data gate tolerates: strict, default or lenient; rule by rule with data.policy in "
        "overrides.",
    )
    gate_min_map50: Annotated[NumberOrPreset, Sets("gate.min_map50", float)] = Field(
        PRESET, description="Least mAP50 on the test split with which a model is registered, from 0 to 1."
    )
    gate_min_map50_95: Annotated[NumberOrPreset, Sets("gate.min_map50_95", float)] = Field(
        PRESET, description="Least mAP50-95 on the test split with which a model is registered, from 0 to 1."
    )
    gpu_tier: TierOrAuto = Field(
        AUTO,
        description="Size of the cards that will train, by their memory: low (under 6 GB), medium (6 to 12), high (12 "
        "to 24), workstation (24 to 48), server (48 to 80), large (80 and more), or cpu. It chooses model, image size "
        "and nominal batch where you leave them to the presets balanced and accurate; auto keeps the preset's.",
    )
    overrides: Overrides = Field(
        "{}",
        description='Any other configuration keys, as a JSON object such as {"train.lr0": 0.001, '
        '"gate.min_recall": 0.8}; they win over the form.',
    )
    preset: Annotated[str, Choices((AUTO, *PRESETS))] = Field(
        AUTO,
        description="Recipe for all that is left to it: quickstart, fast, balanced, accurate or finetune; auto takes "
        "quickstart for the drawn set and balanced for yours.",
    )
    register_alias: Annotated[Text, Sets("register.alias")] = Field(
        PRESET, description="Alias that a registered version receives, such as champion; the preset's is candidate."
    )
    register_model_name: Annotated[Text, Sets("register.model_name")] = Field(
        PRESET, description="Name in the model registry."
    )
    retrain: Annotated[str, Sets("retrain.when"), Choices(RETRAIN)] = Field(
        "always",
        description="When to train: always; changed, if data, configuration or code changed since the last model of "
        "this name; drifted, if the data differs from that of the registered version.",
    )
    sample_pictures: Annotated[str, Sets("sample.pictures", unless=NONE)] = Field(
        NONE,
        description="Pictures of your own, without labels, in which the page shows what the model finds: an s3:// URI "
        "or a mounted path.",
    )
    train_batch: Annotated[WholeOrPreset, Sets("train.batch", int)] = Field(
        PRESET, description="Images of a step over all GPUs of all nodes."
    )
    train_cpu: Annotated[Text, AfterValidator(cluster_values.cpu)] = Field(
        "1", description="CPUs that training gets on each node, such as 8 or 500m."
    )
    train_epochs: Annotated[WholeOrPreset, Sets("train.epochs", int)] = Field(
        PRESET, description="Passes over the training split."
    )
    train_gpus: Whole = Field(
        "0", description="GPUs of each node that training gets; with 0 it runs on the CPU, which suits a trial only."
    )
    train_image_size: Annotated[WholeOrPreset, Sets("train.image_size", int)] = Field(
        PRESET, description="Side of the square network input in pixels, a multiple of 32."
    )
    train_memory: Annotated[Text, AfterValidator(cluster_values.memory)] = Field(
        "3Gi", description="Memory that training gets on each node, such as 32Gi; shared memory is part of it."
    )
    train_node_selector: NodeSelector = Field(
        "{}",
        description='Labels of the nodes on which training may run, as a JSON object such as {"gpu": "a100"}; {} means '
        "any node.",
    )
    train_nodes: Annotated[Whole, Sets("train.nodes", int)] = Field(
        "1",
        description="Nodes that train together, each with its GPUs, CPUs and memory; more than 1 on a cluster that has "
        "the component several-nodes of manifests/.",
    )
    train_seed: Annotated[Whole, Sets("train.seed", int)] = Field(
        "0", description="Seed of weights, order and augmentation."
    )
    train_tolerations: Tolerations = Field(
        AUTO,
        description="Taints of nodes that training bears, as a JSON list of Kubernetes' tolerations; auto bears the "
        "usual one of NVIDIA's nodes if GPUs are asked for.",
    )
    train_weights: Annotated[Text, Sets("weights.source")] = Field(
        PRESET,
        description="Starting weights: s3:// URI, path, official name (yolo11n.pt) or architecture to train from "
        "scratch (yolo11n.yaml).",
    )

    @model_validator(mode="before")
    @classmethod
    def _emptied(cls, values: Any) -> Any:
        return {name: value for name, value in values.items() if value != "" or name == "data"}

    @classmethod
    def given(cls, values: Mapping[str, Any]) -> PipelineParameters:
        """Read what a person filled in.

        Raises ConfigError with every unknown name and wrong value at once; where there are any, it also names what the
        rest would do wrong to the configuration.
        """
        parameters, problems = cls.read(values)
        if problems:
            try:
                parameters.config()
            except ConfigError as error:
                problems += error.problems
            raise ConfigError("The parameters of the pipeline are wrong:", problems)
        return parameters

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> tuple[PipelineParameters, list[str]]:
        """Return the parameters and what is wrong with them; defaults stand for the wrong ones."""
        try:
            return cls.model_validate(dict(values)), []
        except ValidationError as error:
            problems, wrong = [], set()
            for item in error.errors():
                name = str(item["loc"][0])
                wrong.add(name)
                unknown = f"unknown parameter '{name}'{did_you_mean(name, cls.model_fields)}"
                problems += [unknown] if name not in cls.model_fields else explained(item, cls)
            right = {name: value for name, value in values.items() if name not in wrong}
            return cls.model_validate(right), problems

    @property
    def recipe(self) -> str:
        """The preset, or the data's own where none is named."""
        return preset_for(self.data) if self.preset == AUTO else self.preset

    def values(self) -> dict[str, Any]:
        """Return values by their dotted configuration keys, without what is left to the preset; `overrides` win."""
        values: dict[str, Any] = {"train.gpus": int(self.train_gpus)}
        for name, field in type(self).model_fields.items():
            for sets in field.metadata:
                if isinstance(sets, Sets) and getattr(self, name) != sets.unless:
                    values[sets.key] = sets.read(getattr(self, name))
        return {**values, **json.loads(self.overrides)}

    @property
    def tier(self) -> Tier | None:
        """The tier that chooses sizes; None where none is named."""
        return next((name for name in TIER_NAMES if name == self.gpu_tier), None)

    def config(self) -> RunConfig:
        """Return the whole configuration. Raises ConfigError with every mistake in it."""
        return resolve(self.recipe, self.values(), self.tier)

    def node_selector(self) -> dict[str, str]:
        """Return the labels that the node of the training must have."""
        return cluster_values.node_selector(self.train_node_selector)

    def tolerations(self) -> list[dict[str, Any]]:
        """Return the tolerations of the training's pod, in the names of Kubernetes: the usual ones, or those given.

        A node that is lost is borne for a minute, unless those given bear it longer.
        """
        if self.train_tolerations == AUTO:
            chosen = [dict(NVIDIA)] if int(self.train_gpus) else []
        else:
            chosen = cluster_values.tolerations(self.train_tolerations)
        return chosen + cluster_values.lost_node_tolerations(chosen)

    def totals(self) -> str:
        """Return what training gets on all nodes: `2 nodes × 4 GPUs = 8 GPUs, 16 CPUs, 64Gi`."""
        nodes, gpus = int(self.values()["train.nodes"]), int(self.train_gpus)
        cpus = nodes * (cluster_values.amount(self.train_cpu) or 0)
        words = [f"{cpus:g} CPU{'s' * (cpus != 1)}", cluster_values.times(self.train_memory, nodes)]
        if gpus:
            words.insert(0, _gpus(nodes * gpus))
        many = (f"{nodes} nodes × {_gpus(gpus)} = " if gpus else f"{nodes} nodes, together ") if nodes > 1 else ""
        return many + ", ".join(words)

    def warnings(self) -> list[str]:
        """Return what is allowed on a cluster, and hardly meant."""
        if int(self.train_gpus):
            defaults = [name for name in ("train_cpu", "train_memory") if getattr(self, name) == _default(name)]
            return [
                f"{name} is {getattr(self, name)}, which is meant for a trial on the CPU: loaders that keep GPUs busy "
                "take several CPUs and many times that memory."
                for name in defaults
            ]
        if self.recipe in ("quickstart", "fast"):
            return []
        return [
            f"train_gpus is 0: {self.recipe} would train on {self.train_cpu} CPU, which takes days on real data. Ask "
            "for a GPU, or try the preset fast."
        ]


def _gpus(count: int) -> str:
    return f"{count} GPU{'s' * (count != 1)}"


def _default(name: str) -> str:
    return str(PipelineParameters.model_fields[name].default)


def choices() -> dict[str, tuple[str, ...]]:
    """Return all values of each parameter that has few."""
    return {
        name: item.values
        for name, field in PipelineParameters.model_fields.items()
        for item in field.metadata
        if isinstance(item, Choices)
    }


def refuse_several_nodes(nodes: int) -> None:
    """Refuse several nodes for a pipeline that runs on one machine. Raises ConfigError."""
    if nodes > 1:
        raise ConfigError(
            f"train.nodes: got {nodes}, expected 1 for a pipeline on one machine, which is one node. Submit it to a "
            "cluster (`sightline submit --param train_nodes=…`), set train.gpus or train.cpu_processes for several "
            "processes here, or start `sightline train` on each of several machines."
        )


def placeholder_free_json(value: Any) -> str:
    """Return JSON that the pipeline's runner passes on unchanged: it holds no placeholder and no quote."""
    text = json.dumps(value)
    return text.replace("{{", "{\\u007b").replace("'", "\\u0027")
