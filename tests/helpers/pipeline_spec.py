"""Compiled pipelines, read strictly into KFP's own messages, and what is wrong with how their tasks are wired."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2 as kubernetes
from kfp.pipeline_spec import pipeline_spec_pb2

INPUT = re.compile(r"\{\{\$\.inputs\.parameters\['([^']+)'\]\}\}")


class Compiled:
    """Both documents of a compiled pipeline; a field that KFP does not know is refused."""

    def __init__(self, text: str) -> None:
        self.raw, self.raw_platform = yaml.safe_load_all(text)
        self.spec = json_format.ParseDict(self.raw, pipeline_spec_pb2.PipelineSpec())
        self.platform = json_format.ParseDict(self.raw_platform, pipeline_spec_pb2.PlatformSpec())
        configs = self.raw_platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        self.pods = {
            _stage(name): json_format.ParseDict(config, kubernetes.KubernetesExecutorConfig())
            for name, config in configs.items()
        }
        self.containers = {
            _stage(name): executor["container"] for name, executor in self.raw["deploymentSpec"]["executors"].items()
        }
        self.tasks = {
            _stage(self.raw["components"][task["componentRef"]["name"]]["executorLabel"]): task
            for _, dag in self.dags()
            for task in dag["dag"]["tasks"].values()
            if "executorLabel" in self.raw["components"][task["componentRef"]["name"]]
        }

    def dags(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield every component that holds tasks, with its name."""
        yield "root", self.raw["root"]
        yield from ((name, component) for name, component in self.raw["components"].items() if "dag" in component)

    def miswired(self) -> list[str]:
        """Return what a driver would not find: an input that a group does not declare, or a task of another group."""
        return [problem for name, component in self.dags() for problem in self._miswired(name, component)]

    def _miswired(self, name: str, component: dict[str, Any]) -> Iterator[str]:
        declared = component.get("inputDefinitions", {})
        configs = self.raw_platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        tasks = component["dag"]["tasks"]
        for task_name, task in tasks.items():
            used = self.raw["components"][task["componentRef"]["name"]]
            executor = used.get("executorLabel", "")
            for kind, value in _references([task.get("inputs", {}), configs.get(executor, {})]):
                where = f"{task_name} in {name}"
                if kind == "producerTask" and value not in tasks:
                    yield f"{where} takes an output of {value}, which runs elsewhere"
                if kind == "componentInputParameter" and value not in declared.get("parameters", {}):
                    yield f"{where} takes {value}, which its group does not declare"
                if kind == "componentInputArtifact" and value not in declared.get("artifacts", {}):
                    yield f"{where} takes the artifact {value}, which its group does not declare"
            if executor:
                resources = self.raw["deploymentSpec"]["executors"][executor]["container"].get("resources", {})
                for found in INPUT.findall(str(resources).replace('\\"', "'").replace("\\'", "'")):
                    if found not in task["inputs"]["parameters"]:
                        yield f"{task_name} in {name} asks for {found}, which it does not take"


def _stage(executor: str) -> str:
    return executor.removeprefix("exec-")


def _references(node: Any) -> Iterator[tuple[str, str]]:
    if isinstance(node, list):
        for item in node:
            yield from _references(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if isinstance(value, str):
                yield key, value
            yield from _references(value)
