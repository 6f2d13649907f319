"""What the pod of a task asks of a cluster, as its compiled pipeline says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from sightline.cluster.amounts import Amounts, shown

MEMORY, CPU, DISK = "memory", "cpu", "ephemeral-storage"


@dataclass(frozen=True)
class Reference:
    """A variable of a task's environment that comes from a ConfigMap or a Secret."""

    kind: Literal["ConfigMap", "Secret"]
    name: str
    key: str
    variable: str
    optional: bool


@dataclass(frozen=True)
class EmptyDir:
    """A volume of a pod's own; `medium` Memory is shared memory."""

    name: str
    path: str
    medium: str
    size: str  # its limit; empty for none


@dataclass(frozen=True)
class Claim:
    """A volume claim that is mounted."""

    name: str
    path: str


@dataclass(frozen=True)
class Needs:
    """What a task's own container asks for, and where its pod may run. Amounts are exact, by resource."""

    task: str
    image: str
    requests: Amounts
    limits: Amounts
    chosen: Mapping[str, str] = field(default_factory=dict)  # by resource, the parameter of the form that sets it
    selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    empty_dirs: tuple[EmptyDir, ...] = ()
    claims: tuple[Claim, ...] = ()
    pull_secrets: tuple[str, ...] = ()
    environment: tuple[Reference, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    non_root: bool = False
    retries: int = 0
    count: int = 1  # pods at the same time
    unresolved: tuple[str, ...] = ()  # what only the run itself decides

    def asks(self, resource: str, value: Decimal) -> str:
        """Write an amount with its resource, and the parameter of the form that sets it."""
        by = f" ({self.chosen[resource]})" if resource in self.chosen else ""
        return f"{shown(resource, value)} of {resource}{by}"


def named(tasks: list[Needs] | tuple[Needs, ...]) -> str:
    """Join the names of tasks for a sentence."""
    names = [task.task for task in tasks]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
