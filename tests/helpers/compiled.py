"""Compiled pipelines of one task with an image of nobody's, and workflows that Argo makes of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

PIPELINE = """\
components:
  comp-train:
    executorLabel: exec-train
deploymentSpec:
  executors:
    exec-train:
      container:
        image: {image}
pipelineInfo:
  description: A small one.
  name: sightline-small
root:
  dag:
    tasks:
      train:
        componentRef:
          name: comp-train
        taskInfo:
          name: train
  inputDefinitions:
    parameters:
      data:
        defaultValue: quickstart
        isOptional: true
        parameterType: STRING
      retrain:
        defaultValue: always
        isOptional: true
        parameterType: STRING
      train_epochs:
        defaultValue: preset
        isOptional: true
        parameterType: STRING
schemaVersion: 2.1.0
sdkVersion: kfp-2.17.0
"""
DEADLINE = """\
---
platforms:
  kubernetes:
    pipelineConfig:
      activeDeadlineSeconds: {deadline}
"""
RUN = "sightline-train-x7"  # the workflow that the stand-in's runs have
IMPL, EXECUTOR, DRIVER = "system-container-impl", "system-container-executor", "system-container-driver"


def write(folder: Path, *, image: str = "127.0.0.1:1/train:1", deadline: int | None = 3600) -> Path:
    """Write a compiled pipeline; nothing answers where its image should be."""
    path = folder / "small.yaml"
    text = PIPELINE.format(image=image) + (DEADLINE.format(deadline=deadline) if deadline else "")
    path.write_text(text, encoding="utf-8")
    return path


def pod_of(task: str, kind: str = IMPL) -> str:
    """Return the name of a task's pod."""
    return f"{RUN}-{kind}-{_number(task, kind)}"


def nodes(**tasks: tuple[str, str] | str) -> dict[str, Any]:
    """Return the nodes of a workflow: each task's phase and message, or its phase alone; "Cached" has no pod.

    Every template is repeated where KFP's API server is left as it comes, so that every name has an attempt: (0). The
    tasks began within the last minute, one second after the other, and took 12 seconds.
    """
    made: dict[str, Any] = {}
    first = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
    for second, (task, value) in enumerate(tasks.items()):
        phase, message = value if isinstance(value, tuple) else (value, "")
        base = f"{RUN}(0).root(0).exit-handler-1(0).{task}"
        began = first + timedelta(seconds=second)
        times = {"startedAt": began.isoformat()}
        if phase not in ("Pending", "Running"):
            times["finishedAt"] = (began + timedelta(seconds=12)).isoformat()
        whole = {"Pending": "Running", "Cached": "Succeeded"}.get(phase, phase)
        _add(made, f"{base}-driver", "Retry", DRIVER, "Succeeded", times)
        _add(made, f"{base}-driver(0)", "Pod", DRIVER, "Succeeded", times)
        _add(made, base, "Retry", EXECUTOR, whole, times)
        _add(made, f"{base}(0)", "DAG", EXECUTOR, whole, times)
        if phase == "Cached":
            _add(made, f"{base}(0).executor", "Skipped", IMPL, "Skipped", times)
            continue
        _add(made, f"{base}(0).executor", "Retry", IMPL, whole, times)
        identity = f"{RUN}-{_number(task, IMPL)}"
        _add(made, f"{base}(0).executor(0)", "Pod", IMPL, phase, times, message, identity)
    return made


def _add(
    made: dict[str, Any],
    name: str,
    kind: str,
    template: str,
    phase: str,
    times: dict[str, str],
    message: str = "",
    identity: str = "",
) -> None:
    identity = identity or f"{RUN}-{_number(name, template)}"
    node = {"id": identity, "name": name, "type": kind, "templateName": template, "phase": phase, "message": message}
    made[identity] = {"displayName": name.rpartition(".")[2], **node, **times}


def _number(name: str, kind: str) -> int:
    return sum((place + 1) * ord(letter) for place, letter in enumerate(name + kind)) + 1000
