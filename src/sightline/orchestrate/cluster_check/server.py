"""What Kubeflow Pipelines says of itself: its version, the experiment, and how it repeats tasks."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sightline.cluster.findings import Finding, ok, problem, unknown, warning
from sightline.cluster.needs import Needs, named
from sightline.errors import ClusterError, SightlineError
from sightline.orchestrate.kfp_api import Server
from sightline.runtime import kfp_server

RUNNER, EDITOR = "pipeline-runner", "default-editor"  # KFP's default accounts of runs: with one namespace, with several
HOME = "kubeflow"  # the namespace of KFP, and of runs where it has only one, unless somebody chose another
NEWEST = 5  # runs that are looked at for one whose workflow is there
RETRY = "manifests/components/kfp-retry"
ANSWER = 8  # seconds for each answer, less than all questions of a check have together


class PipelinesServer:
    """A server of Kubeflow Pipelines, asked in a thread of its own; `known` is set when the rest can go on."""

    def __init__(self, namespace: str | None, experiment: str, server: Server | None = None) -> None:
        """Take what the user named, and a server that was connected already."""
        self._namespace, self._experiment = namespace, experiment
        self.server = server
        self.workflow: Mapping[str, Any] = {}  # of the newest run that has one
        self.run: Any = None  # KFP's record of it
        self.outage = True  # it does not answer, or fails: so it is until it has answered
        self.known = threading.Event()

    @property
    def through_kubernetes(self) -> bool:
        """Whether it is reached through the API server of the kubeconfig, so that both are one cluster."""
        return kfp_server.endpoint() is None

    @property
    def namespaces(self) -> list[str]:
        """Where runs may work, the likeliest first."""
        if self.server and self.server.shared:
            return [self.server.namespace]
        if self._namespace:
            return [self._namespace]
        seen = (self.workflow.get("metadata") or {}).get("namespace")
        return list(dict.fromkeys(name for name in (seen, HOME) if name))

    def account(self, given: str | None) -> str:
        """Return the service account of a run."""
        return given or (EDITOR if self.server and self.server.shared else RUNNER)

    def findings(self, tasks: Sequence[Needs]) -> Iterator[Finding]:
        """Yield what the server says; afterwards the newest run's workflow is known."""
        try:
            self.server = self.server or Server(self._namespace, most=ANSWER)
            self.outage = False
            release = self.server.release if self.server.release != "unknown" else "of an unknown version"
            yield ok("kfp", f"Kubeflow Pipelines {release} answers at {self.server.at.address}")
            experiment = self._experiment_line(self.server)
            retries = self._retries_line(self.server, tasks)
        except SightlineError as error:
            self.outage = self.outage and error.exit_code == 1
            yield problem("kfp", str(error))
            return
        finally:
            self.known.set()
        yield experiment
        yield retries

    def read_newest(self) -> None:
        """Look for the newest run that has a workflow. Raises ClusterError."""
        assert self.server
        for run in self.server.newest_runs(NEWEST):
            self.workflow, self.run = self.server.workflow(run.run_id), run
            if self.workflow.get("spec"):
                return
        self.workflow, self.run = {}, None

    def _experiment_line(self, server: Server) -> Finding:
        name = self._experiment
        there = server.found_experiment(name) is not None
        return ok("experiment", f"{name} is there" if there else f"{name} will be made with the first run")

    def _retries_line(self, server: Server, tasks: Sequence[Needs]) -> Finding:
        try:
            self.read_newest()
        except ClusterError as error:
            return unknown("retries", f"not checked: {error.message}")
        if not self.workflow:
            return unknown("retries", f"no run yet tells whether {RETRY} is in force")
        strategy = ((self.workflow["spec"].get("templateDefaults") or {}).get("retryStrategy")) or {}
        if strategy.get("retryPolicy") == "Always" and str(strategy.get("limit")) == "0":
            return ok("retries", f"{RETRY} is in force: a task that loses its pod is repeated")
        wanted = [task for task in tasks if task.retries]
        if not wanted:
            return ok("retries", "no task wants to be repeated")
        return warning(
            "retries",
            f"{RETRY} is not in force: a pod that is killed for its memory or drained fails the run, though "
            f"{named(wanted)} would be repeated",
        )
