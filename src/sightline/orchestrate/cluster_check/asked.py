"""What each task of a compiled pipeline asks of a cluster, with the parameters of a run.

It is read from the file that is sent: the executors of the pipeline, and their settings for Kubernetes in its second
document. Values travel there from parameters through groups to tasks; what a task's output decides is known only for
validate's, which come from the form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from sightline.cluster.amounts import amount
from sightline.cluster.needs import CPU, MEMORY, Claim, EmptyDir, Needs, Reference
from sightline.config.parameters import PipelineParameters
from sightline.errors import ConfigError
from sightline.orchestrate.versions import Package

INPUT = re.compile(r"\{\{\$\.inputs\.parameters\['([^']+)'\]\}\}")
NODES = "train_nodes"  # parameter of the form: how many pods train takes
Inputs = Mapping[str, "Value"]


@dataclass(frozen=True)
class Value:
    """A value on its way to a task: what it is, and the parameter of the form that it comes from."""

    value: Any
    parameter: str = ""
    known: bool = True


def tasks(sent: Package, parameters: PipelineParameters) -> list[Needs]:
    """Return what every task asks for, in the order of the file. Raises ConfigError for amounts that are none."""
    spec, *rest = sent.documents
    settings: Mapping[str, Any] = {}
    for document in rest:
        platform = (document.get("platforms") or {}).get("kubernetes") or {}
        settings = (platform.get("deploymentSpec") or {}).get("executors") or settings
    form = parameters.model_dump()
    start = {name: Value(form.get(name, each.get("defaultValue")), name) for name, each in sent.parameters.items()}
    outputs = {
        ("validate", "train_node_selector"): Value(parameters.node_selector(), "train_node_selector"),
        ("validate", "train_tolerations"): Value(parameters.tolerations(), "train_tolerations"),
    }
    found: dict[str, Needs] = {}
    for task, executor, inputs, outer in _walk(spec, spec["root"], start, outputs):
        name = task["taskInfo"]["name"]
        container = spec["deploymentSpec"]["executors"][executor].get("container")
        if container and name not in found:
            read = _Reader(name, inputs, outer).needs(container, settings.get(executor) or {})
            retries = int((task.get("retryPolicy") or {}).get("maxRetryCount", 0))
            count = int(form.get(NODES, 1)) if name == "train" else 1
            found[name] = replace(read, retries=retries, count=count)
    return list(found.values())


def _walk(
    spec: Mapping[str, Any], component: Mapping[str, Any], outer: Inputs, outputs: Mapping[tuple[str, str], Value]
) -> Iterator[tuple[Mapping[str, Any], str, Inputs, Inputs]]:
    """Yield every task with the name of its executor, its own inputs, and those of the group that it is in."""
    for task in component["dag"]["tasks"].values():
        inputs = {
            key: _value(given, outer, outputs)
            for key, given in ((task.get("inputs") or {}).get("parameters") or {}).items()
        }
        used = spec["components"][task["componentRef"]["name"]]
        if "dag" in used:
            yield from _walk(spec, used, inputs, outputs)
        elif "executorLabel" in used:
            yield task, used["executorLabel"], inputs, outer


def _value(given: Mapping[str, Any], outer: Inputs, outputs: Mapping[tuple[str, str], Value]) -> Value:
    """Return the value of an input, as far as it is known before the run."""
    if "componentInputParameter" in given:
        return outer.get(given["componentInputParameter"], Value(None, known=False))
    if "taskOutputParameter" in given:
        output = given["taskOutputParameter"]
        unknown = Value(None, known=False)
        return outputs.get((output["producerTask"], output["outputParameterKey"]), unknown)
    if "runtimeValue" in given:
        return Value(given["runtimeValue"].get("constant"))
    return Value(None, known=False)


class _Reader:
    """Reads the settings of one task."""

    def __init__(self, task: str, inputs: Inputs, outer: Inputs) -> None:
        self.task, self.inputs, self.outer = task, inputs, outer
        self.unresolved: list[str] = []

    def needs(self, container: Mapping[str, Any], settings: Mapping[str, Any]) -> Needs:
        resources = container.get("resources") or {}
        requests, limits, chosen = self._amounts(resources)
        selector = self._selector(settings.get("nodeSelector") or {})
        tolerations = tuple(self._tolerations(settings.get("tolerations") or []))
        if settings.get("nodeAffinity") or settings.get("podAffinity"):
            self.unresolved.append("affinity")
        return Needs(
            task=self.task,
            image=container["image"],
            requests=requests,
            limits=limits,
            chosen=chosen,
            selector=selector,
            tolerations=tolerations,
            empty_dirs=tuple(
                EmptyDir(each["volumeName"], each["mountPath"], each.get("medium", ""), each.get("sizeLimit", ""))
                for each in settings.get("emptyDirMounts") or []
            ),
            claims=tuple(self._claims(settings.get("pvcMount") or [])),
            pull_secrets=tuple(
                name for each in settings.get("imagePullSecret") or [] if (name := self._name(each, "secretName"))
            ),
            environment=tuple(self._environment(settings)),
            labels=(settings.get("podMetadata") or {}).get("labels") or {},
            non_root=bool((settings.get("securityContext") or {}).get("runAsNonRoot")),
            unresolved=tuple(dict.fromkeys(self.unresolved)),
        )

    def _amounts(self, resources: Mapping[str, Any]) -> tuple[dict[str, Decimal], dict[str, Decimal], dict[str, str]]:
        """Return requests, limits, and which parameter sets which resource."""
        accelerator = resources.get("accelerator") or {}
        gpu = accelerator.get("resourceType") or accelerator.get("type")
        wanted = [
            ("requests", CPU, resources.get("resourceCpuRequest", resources.get("cpuRequest"))),
            ("limits", CPU, resources.get("resourceCpuLimit", resources.get("cpuLimit"))),
            ("requests", MEMORY, resources.get("resourceMemoryRequest")),
            ("limits", MEMORY, resources.get("resourceMemoryLimit")),
            *(
                (kind, gpu, accelerator.get("resourceCount", accelerator.get("count")))
                for kind in ("requests", "limits")
            ),
        ]
        found: dict[str, dict[str, Decimal]] = {"requests": {}, "limits": {}}
        chosen = {}
        for kind, resource, given in wanted:
            if given is None or resource is None:
                continue
            value = self._placed(str(given))
            if not value.known:
                self.unresolved.append(resource)
                continue
            try:
                number = amount(value.value)
            except (ValueError, ArithmeticError):
                raise ConfigError(f"{self.task} asks for {value.value!r} of {resource}, which is no amount.") from None
            if number:
                found[kind][resource] = number
            if value.parameter:
                chosen[resource] = value.parameter
        return found["limits"] | found["requests"], found["limits"], chosen

    def _placed(self, text: str) -> Value:
        """Return what a text means in which inputs of the task are named; one that only names an input is its value."""
        match = INPUT.fullmatch(text)
        if match is None:
            return Value(text, known=not INPUT.search(text))
        value = self.inputs.get(match[1], Value(None, known=False))
        nested = isinstance(value.value, str) and INPUT.fullmatch(value.value)
        return self._placed(value.value) if nested and value.value != text else value

    def _selector(self, given: Mapping[str, Any]) -> dict[str, str]:
        selector = dict(given.get("labels") or {})
        if "nodeSelectorJson" in given:
            value = self._outside(given["nodeSelectorJson"])
            if isinstance(value.value, Mapping):
                selector |= value.value
            else:
                self.unresolved.append("node selector")
        return selector

    def _tolerations(self, given: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        for each in given:
            if "tolerationJson" not in each:
                yield each
                continue
            value = self._outside(each["tolerationJson"]).value
            if isinstance(value, list):
                yield from value
            elif isinstance(value, Mapping):
                yield value
            else:
                self.unresolved.append("tolerations")

    def _claims(self, given: list[Mapping[str, Any]]) -> Iterator[Claim]:
        for each in given:
            name = each.get("constant") or self._name(each, "pvcName")
            if name:
                yield Claim(name, each["mountPath"])

    def _environment(self, settings: Mapping[str, Any]) -> Iterator[Reference]:
        for kind, field, prefix in (
            ("ConfigMap", "configMapAsEnv", "configMap"),
            ("Secret", "secretAsEnv", "secret"),
        ):
            for each in settings.get(field) or []:
                name = self._name(each, f"{prefix}Name")
                for pair in each.get("keyToEnv") or [] if name else []:
                    key, variable = pair[f"{prefix}Key"], pair["envVar"]
                    yield Reference(kind, str(name), key, variable, bool(each.get("optional")))  # type: ignore[arg-type]

    def _name(self, given: Mapping[str, Any], field: str) -> str | None:
        """Return the name of an object, which may come from a parameter."""
        value = self._outside(given.get(f"{field}Parameter") or {"runtimeValue": {"constant": given.get(field)}})
        if not value.known or not value.value:
            self.unresolved.append(f"the {field} of a volume or a variable")
            return None
        return str(value.value)

    def _outside(self, given: Mapping[str, Any]) -> Value:
        """Return a value that a setting takes from the group of its task."""
        return _value(given, self.outer, {})
