"""CPU, memory and GPUs of every task, in one table."""

from dataclasses import dataclass

from kfp import dsl


@dataclass(frozen=True)
class Resources:
    """What a task asks of its node; memory in Kubernetes units."""

    cpu: str
    memory: str


TABLE = {
    "validate": Resources(cpu="4", memory="8Gi"),
    "train": Resources(cpu="8", memory="32Gi"),
    "export": Resources(cpu="4", memory="8Gi"),
    "evaluate": Resources(cpu="4", memory="8Gi"),
    "sample": Resources(cpu="2", memory="4Gi"),
    "verdict": Resources(cpu="1", memory="1Gi"),
    "report": Resources(cpu="2", memory="4Gi"),
    "register": Resources(cpu="2", memory="4Gi"),
}


def request(task: dsl.PipelineTask, stage: str) -> dsl.PipelineTask:
    """Ask for what the table says, as request and as limit."""
    resources = TABLE[stage]
    task.set_cpu_request(resources.cpu).set_cpu_limit(resources.cpu)
    return task.set_memory_request(resources.memory).set_memory_limit(resources.memory)
