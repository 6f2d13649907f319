"""Whether a cluster can do a run, asked before it costs anything: the questions of `sightline cluster check`.

asked       what each task of the compiled pipeline asks for, with the parameters of the run
server      what Kubeflow Pipelines says of itself
outside     everything that takes no pod, at the same time; `submit` asks it too
inside      what only a pod can say, asked by a Job

What Kubernetes' objects mean is in `sightline.cluster`, what the pod asks in `sightline.probe`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sightline.cluster.findings import Finding, unknown, warning
from sightline.config.parameters import PipelineParameters
from sightline.errors import ConfigError
from sightline.orchestrate import submit, versions
from sightline.orchestrate.cluster_check import asked, inside, outside
from sightline.orchestrate.cluster_check.server import PipelinesServer
from sightline.orchestrate.kfp_api import Server


@dataclass(frozen=True)
class Checked:
    """What a check found."""

    findings: tuple[Finding, ...]
    outage: bool  # neither Kubernetes nor Kubeflow Pipelines answered

    @property
    def exit_code(self) -> int:
        """Return 1 if nothing could be asked, 2 if something stands in the way of a run, else 0."""
        if self.outage:
            return 1
        return 2 if any(each.level == "problem" for each in self.findings) else 0


def check(
    sent: versions.Package,
    values: Mapping[str, Any],
    *,
    namespace: str | None,
    experiment: str | None,
    service_account: str | None,
    wait: float | None,
    tell: Callable[[str], None],
) -> Checked:
    """Check a cluster for a run of a compiled pipeline with these parameters.

    A pod may take `wait` seconds to start; None asks from outside alone. Raises ConfigError for wrong parameters.
    """
    versions.given(values, sent)
    parameters = PipelineParameters.given(values)
    tasks = asked.tasks(sent, parameters)
    pipelines = PipelinesServer(namespace, experiment or submit.EXPERIMENT)
    seen = outside.look(pipelines, tasks, images=sent.images, service_account=service_account)
    found = [*(warning("form", words) for words in parameters.warnings()), *seen.findings]
    found += [
        unknown("tasks", f"{task.task}: {', '.join(task.unresolved)} not checked: known only when it runs")
        for task in tasks
        if task.unresolved
    ]
    if wait is None:
        return Checked(tuple(found), seen.outage)
    if seen.kubernetes is None:
        return Checked(
            (*found, unknown(inside.CHECK, "nothing was asked from inside: it takes Kubernetes")), seen.outage
        )
    if any(each.check == "namespace" and each.level == "problem" for each in found):
        return Checked((*found, unknown(inside.CHECK, "nothing was asked from inside: see the namespace")), seen.outage)
    config = parameters.config()
    account = pipelines.account(service_account)
    answers = inside.ask(seen.kubernetes, tasks, config, account=account, wait=wait, tell=tell)
    told = {each.check for each in answers}  # a pod knows better
    return Checked((*(each for each in found if each.check not in told), *answers), seen.outage)


def refuse(
    server: Server, sent: versions.Package, values: Mapping[str, Any], *, service_account: str | None
) -> list[Finding]:
    """Return what may stand in the way of a run, and what was not checked; nothing without Kubernetes.

    Raises ConfigError with everything that stops it.
    """
    tasks = asked.tasks(sent, PipelineParameters.given(values))
    seen = outside.kubernetes_alone(server, tasks, service_account=service_account)
    if problems := [each for each in seen if each.level == "problem"]:
        raise ConfigError(
            "The cluster cannot do this run (`sightline cluster check` says more; --no-check starts it nevertheless):",
            [f"{each.check}: {each.words}" for each in problems],
        )
    return seen


__all__ = ["Checked", "check", "refuse"]
