"""Everything that can still be seen of a run: what its stages left, its workflow, its pods, events and logs.

Each source is optional. What could not be asked is said, a line each; a source that does not answer once is not asked
again, so that a run's last task ends in time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from sightline.cluster import NotThere
from sightline.documents import ErrorReport, SummaryDocument
from sightline.errors import ClusterError, SightlineError
from sightline.runtime import workflow
from sightline.why.training import Training

UNEXPLAINED = ("lost", "interrupted")  # kinds of errors that say of a pod no more than that it was ended
DERIVED = (*UNEXPLAINED, "memory")  # kinds that a summary's error has where it says the cause in short
MOST = 8  # pods of a run that are looked at: those that failed, wait or run

Object = dict[str, Any]
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Seen:
    """What was seen of a run, and when."""

    run_id: str
    at: datetime
    known: bool = False  # whether any source knows the run
    errors: Mapping[str, ErrorReport] = field(default_factory=dict)  # by stage
    ended: frozenset[str] = frozenset()  # the stages that left a result
    summary: SummaryDocument | None = None
    training: Training | None = None
    workflow: Object = field(default_factory=dict)
    pods: Mapping[str, Object] = field(default_factory=dict)  # Kubernetes' own, by name
    gone: frozenset[str] = frozenset()  # pods that Kubernetes no longer has
    events: Mapping[str, tuple[Object, ...]] = field(default_factory=dict)  # by the pod's name
    nodes: Mapping[str, Object] = field(default_factory=dict)  # Kubernetes' own, by name; empty where not asked
    lost: frozenset[str] = frozenset()  # nodes that Kubernetes no longer has
    logs: Mapping[str, str] = field(default_factory=dict)  # by the pod's name
    signs: Mapping[str, datetime] = field(default_factory=dict)  # last lines of logs, by the pod's name
    answered: bool = False  # whether Kubeflow Pipelines or Kubernetes said anything
    unasked: tuple[str, ...] = ()

    @property
    def over(self) -> bool:
        """Tell whether the stages of the run have ended."""
        if self.workflow:
            return workflow.over(self.workflow)
        return self.summary is not None or bool(self.errors)

    @property
    def error(self) -> ErrorReport | None:
        """Return the error with which a stage says itself why the run failed, of the first stage that did."""
        return next((error for error in self.errors.values() if error.kind not in UNEXPLAINED), None)


def interesting(seen: Seen) -> list[workflow.Pod]:
    """Return the pods that say why a run ended or does not go on: those that failed, or have not ended."""
    pods = [pod for pod in workflow.pods(seen.workflow) if pod.state in ("failed", "waiting", "running")]
    stopped = [pod for pod in pods if pod.driver and pod.message.startswith(workflow.STOPPED)]
    return [pod for pod in pods if pod not in stopped][-MOST:]


class Asked:
    """A source of evidence, and what it would not say."""

    def __init__(self, name: str) -> None:
        """Take what people call it."""
        self.name = name
        self.away = False
        self._problems: dict[str, None] = {}

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be asked, a line each."""
        return tuple(self._problems)

    def answer(self, ask: Callable[[], Answer], missing: Answer | None = None) -> Answer | None:
        """Return the answer, or `missing` for what does not exist; None without one: the reason is kept."""
        if self.away:
            return None
        try:
            return ask()
        except NotThere:
            return missing
        except SightlineError as error:
            self.away = isinstance(error, ClusterError) and error.exit_code == 1  # an outage, not a refusal
            self._problems[f"{self.name}: {' '.join(str(error).split())}"] = None
            return None
