"""The table of causes: which words mean what, how it is said, and what to do. The first row that fits is the cause.

A row's words are looked for in the lines that were said about a pod, each with its source in front:

    workflow: …             Argo's message of the pod's node, which KFP hands out
    pod: …                  its own reason and message        container NAME: …     a container's state
    condition TYPE: …       DisruptionTarget, PodScheduled    event REASON[, N times]: …
    node NAME: …            its node is gone or not ready     log, launcher, driver: …

A row says whose words it takes: an error of a task, or of KFP's own programs, may use those of Kubernetes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from sightline.documents.cause import CauseKind
from sightline.why import placing, starting, struck
from sightline.why.case import Case, Found, Line

Facts = dict[str, str]
Parse = Callable[[Case, Found], Facts | None]
KUBERNETES = ("workflow", "pod", "container", "condition", "event", "node")  # what it says itself, or Argo for it
ENDS = (*KUBERNETES, "launcher")  # the launcher says how the process below it ended


class Row(NamedTuple):
    """A cause. Templates may use the facts that `parse` gives; it gives none where the row does not fit after all."""

    kind: CauseKind
    words: str  # a regular expression
    says: str  # follows the task's name in a sentence; of a row that `waits`, what stands in the way
    do: str = "{do}"
    again: bool = False  # or as the fact `again` says
    parse: Parse = lambda case, found: {}
    waits: bool = False  # keeps a pod from starting
    sources: tuple[str, ...] = KUBERNETES  # first words of those whose lines it takes


TAINTED = "DeletionByTaintManager|Taint manager|TaintManagerEviction"
AGAIN = 'Start the run again, or choose "Retry" in the dashboard, which repeats only what did not finish.'
INSTALL = "manifests/README.md says what the namespace of a run needs."
RIGHT = f"Bind the account to a Role that allows this, such as the one of manifests/base. {INSTALL}"
REGISTRY = "See that the image is there and the nodes may fetch it (IMAGES, PULL_SECRET of `make compile`)."

ROWS = (
    # --- memory and disk
    Row(
        "memory",
        r"^(?:workflow: (?P<container>[\w-]+): |container (?P<_container>[\w-]+): ).*OOMKilled",
        "ran out of memory: {what}",
        parse=struck.memory,
    ),
    Row(
        "shared_memory",
        r'EmptyDir volume "shm" exceeds|Bus error|SIGBUS|exit (?:status|code) 135|signal: bus error',
        "ran out of shared memory: {what}",
        parse=struck.shared_memory,
        sources=(*ENDS, "log"),
    ),
    Row(
        "disk",
        r'Usage of EmptyDir volume "(?P<volume>[^"]+)" exceeds the limit "(?P<limit>[^"]+)"|'
        r'exceeded its local ephemeral storage limit "(?P<_limit>[^"]+)"|'
        r"ephemeral local storage usage exceeds the total limit of containers (?P<__limit>\S+?)\.?(?: |$)",
        "filled its disk: {what}",
        parse=struck.disk,
    ),
    # --- taken away
    Row(
        "evicted",
        r"The node was low on resource: (?P<resource>[\w./-]*[\w])",
        "was evicted: {what}",
        AGAIN,
        again=True,
        parse=struck.evicted,
    ),
    Row(
        "preempted",
        r"PreemptionByScheduler|preempting to accommodate|preempted by [Kk]ubelet|Preempted in order|event Preempted",
        "was preempted: a pod of higher priority took its place on {node}",
        AGAIN,
        again=True,
        parse=struck.place,
    ),
    Row(
        "deleted",
        TAINTED,
        "was ended from outside: {node} has the taint {taint}, which it does not tolerate",
        AGAIN,
        again=True,
        parse=struck.tainted,
    ),
    Row(
        "node_lost",
        rf"node no longer exists|^node \S+: is (?:gone|not ready)|^event NodeNotReady|NodeLost|{TAINTED}|"
        r"node is shutting down|node shutdown|NodeShutdown|Unknown(?:,| \() ?exit code 255",
        "lost {node}, which was removed, shut down or no longer answers",
        AGAIN,
        again=True,
        parse=struck.lost,
    ),
    # --- not allowed
    Row(
        "missing",
        r'is forbidden: User "(?P<user>(?!system:node:)[^"]+)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)"',
        "failed: {what}",
        RIGHT,
        parse=struck.rights,
        sources=("workflow", "pod", "container", "launcher", "driver"),
    ),
    # --- not started
    Row(
        "image",
        r"ErrImage|ImagePull|InvalidImageName|ImageInspectError|pulling image|pull image",
        "{what}",
        REGISTRY,
        parse=starting.image,
        waits=True,
    ),
    Row(
        "missing",
        r'(?:secret|configmap|persistentvolumeclaim|serviceaccount) "[^"]+" not found|couldn\'t find key|'
        r"references non-existent|no PriorityClass with name",
        "{what}",
        f"Make it, with that name and key. {INSTALL}",
        parse=starting.missing,
        waits=True,
    ),
    Row(
        "quota",
        r"(?:exceeded|failed) quota",
        "{what}",
        "Wait for other runs to end, ask for less (train_cpu, train_memory, train_gpus), or have the quota raised.",
        parse=placing.quota,
        waits=True,
    ),
    Row(
        "runtime",
        r"no runtime for \\?\"(?P<name>[^\"\\]*)|RuntimeClass \\?\"(?P<_name>[^\"\\]+)\\?\" not found",
        "{what}",
        "Have it set up on the nodes (for GPUs, NVIDIA's container toolkit), or leave the RuntimeClass out. " + INSTALL,
        parse=starting.runtime,
        waits=True,
    ),
    Row(
        "admission",
        r"is forbidden: |^workflow: Pod \".*\" is invalid: |admission webhook|denied request",
        "{what}",
        f"Change what it asks for, or have the rule changed. {INSTALL}",
        parse=placing.admission,
        waits=True,
    ),
    Row(
        "unschedulable",
        r"^(?:workflow: Unschedulable|condition PodScheduled|event FailedScheduling)",
        "{what}",
        parse=placing.placing,
        waits=True,
    ),
    Row(
        "missing",
        r"FailedMount|CreateContainerConfigError|CreateContainerError|RunContainerError",
        "its container cannot be made: {what}",
        INSTALL,
        parse=starting.refused_by_node,
        waits=True,
    ),
    Row(
        "unknown",
        r"UnexpectedAdmissionError|OutOf(?:cpu|memory|pods|ephemeral-storage|nvidia)|NodeAffinity|FailedCreatePodSandBox",
        "its node refuses it: {what}",
        AGAIN,
        again=True,
        parse=starting.refused_by_node,
        waits=True,
    ),
    # --- ended by Kubeflow Pipelines or a person
    Row(
        "timeout",
        r"longer than the specified deadline|^(?:workflow|pod): DeadlineExceeded|Max duration limit exceeded",
        "ran into its time limit{limit}",
        parse=struck.time_limit,
    ),
    Row(
        "deleted",
        r"EvictionByEvictionAPI|Eviction API: evicting",
        "was drained: somebody emptied {node}, which Kubernetes' eviction API says",
        AGAIN,
        again=True,
        parse=struck.place,
    ),
    Row("driver", r"", "failed: {words}", parse=struck.driver, sources=(*KUBERNETES, "driver")),
    Row(
        "memory",
        r"exit (?:status|code) 137|signal: killed|pod deleted",
        "most likely ran out of memory: {what}",
        parse=struck.probable_memory,
        sources=ENDS,
    ),
    Row(
        "driver",
        r"",
        "failed in Kubeflow Pipelines' launcher: {words}",
        parse=struck.launcher,
        sources=("launcher",),
    ),
    # --- the task's own
    Row(
        "stage",
        r"^log: .",
        "failed: {words}",
        "Correct what the message names, and start a new run; the log says more.",
        parse=struck.own_error,
        sources=("log",),
    ),
    Row(
        "deleted",
        r"exit (?:status|code) 143|signal: terminated|^event Killing|is to be deleted",
        "was ended from outside: its pod was deleted, or its node drained",
        AGAIN,
        again=True,
        sources=ENDS,
    ),
    Row(
        "vanished",
        r"pod deleted",
        "lost its pod, and nothing is left that says why: it was deleted by force, or its node was lost",
        AGAIN,
        again=True,
    ),
    Row(
        "unknown",
        r"exit (?:status|code) 137|signal: killed",
        "was killed (SIGKILL), and nothing says by whom: its own memory limit was not the reason that Kubernetes gives",
        f"If memory was short, give it more. {AGAIN}",
        sources=ENDS,
    ),
    Row("unknown", r"", "ended without a result: {words}", "Its log says more.", parse=struck.killed),
)


def matches(row: Row, line: Line) -> Found | None:
    """Return what a row finds in a line of its sources; groups `name`, `_name` and `__name` are alternatives."""
    if line.source.split()[0] not in row.sources:
        return None
    found = re.search(row.words, f"{line.source}: {line.text}")
    if found is None:
        return None
    groups = {name.lstrip("_"): value for name, value in found.groupdict().items() if value is not None}
    return Found(line.text, groups)
