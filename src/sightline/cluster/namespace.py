"""What a namespace has to have for runs: that it is there, lets our pods in, and holds the claims that they mount."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sightline.cluster.api import Denied, Kubernetes, NotThere, Object
from sightline.cluster.findings import Finding, ok, problem, unknown, warning
from sightline.cluster.needs import Needs, named
from sightline.cluster.questions import short
from sightline.config.cluster_names import GPU

LEVEL = "pod-security.kubernetes.io/enforce"
POLICY, RUNTIME = "sightline-gpu-runtime", "nvidia"  # of manifests/components/gpu
ADMISSION = "admissionregistration.k8s.io"
BY_FIRST_POD = "WaitForFirstConsumer"


def namespace(kubernetes: Kubernetes, tasks: Sequence[Needs]) -> Iterator[Finding]:
    """Yield whether the namespace is there, and whether its level of Pod Security lets our pods in."""
    name = kubernetes.namespace
    try:
        found = kubernetes.get(f"/api/v1/namespaces/{name}")
    except NotThere:
        yield problem("namespace", f"there is no namespace {name}")
        return
    except Denied as error:
        yield unknown("namespace", f"not checked: {short(error)}")
        yield unknown("pod security", f"not checked: {short(error)}")
        return
    phase = (found.get("status") or {}).get("phase", "Active")
    if phase != "Active":
        yield problem("namespace", f"{name} is {phase}: nothing can start in it")
    else:
        yield ok("namespace", f"{name} is there")
    yield _pod_security(found, tasks)


def _pod_security(found: Object, tasks: Sequence[Needs]) -> Finding:
    """Say whether the level that the namespace enforces lets in pods as the compiled pipeline asks for them.

    KFP and Argo see to all that `restricted` wants but one thing: that a container may not run as root.
    """
    level = (found["metadata"].get("labels") or {}).get(LEVEL)
    if level == "restricted" and (rooted := [task for task in tasks if not task.non_root]):
        return problem(
            "pod security",
            f"the namespace enforces the level restricted, and {named(rooted)} may run as root: compile the pipeline "
            "again (`make compile`), or set run_as_non_root on every task",
        )
    return ok(
        "pod security", f"the namespace enforces the level {level}" if level else "the namespace enforces no level"
    )


def runtime_class(kubernetes: Kubernetes, tasks: Sequence[Needs]) -> Iterator[Finding]:
    """Yield whether tasks that ask for GPUs get NVIDIA's runtime."""
    if not any(task.limits.get(GPU) for task in tasks):
        return
    policy, bound = (_admission(kubernetes, kind) for kind in ("policies", "policybindings"))
    try:
        kubernetes.get(kubernetes.path("runtimeclasses", RUNTIME, group="node.k8s.io", namespaced=False))
        there = True
    except NotThere:
        there = False
    if policy and bound and not there:
        yield problem(
            "runtime",
            f"the policy {POLICY} gives tasks with GPUs the RuntimeClass {RUNTIME}, and there is none: no such pod is "
            "let in. Install manifests/components/gpu",
        )
    elif policy and bound:
        yield ok("runtime", f"the policy {POLICY} gives tasks with GPUs the RuntimeClass {RUNTIME}")
    elif there:
        yield warning(
            "runtime",
            f"there is a RuntimeClass {RUNTIME}, and no policy {POLICY} that gives it to tasks with GPUs: they see "
            "GPUs only if it is the default runtime of their nodes, else install manifests/components/gpu",
        )
    else:
        yield ok("runtime", f"no RuntimeClass {RUNTIME} and no policy: the default runtime of GPU nodes counts")


def _admission(kubernetes: Kubernetes, kind: str) -> bool:
    """Say whether the policy for GPUs, or its binding, is there in a version that the server knows."""
    for version in ("v1", "v1beta1"):
        plural = f"mutatingadmission{kind}"
        try:
            kubernetes.get(kubernetes.path(plural, POLICY, group=ADMISSION, version=version, namespaced=False))
        except NotThere:
            continue
        return True
    return False


def claims(kubernetes: Kubernetes, tasks: Sequence[Needs]) -> Iterator[Finding]:
    """Yield whether the claims that tasks mount can be mounted, by pods on any node."""
    for name in sorted({claim.name for task in tasks for claim in task.claims}):
        try:
            found = kubernetes.get(kubernetes.path("persistentvolumeclaims", name))
        except NotThere:
            yield problem("claim", f"there is no claim {name} in {kubernetes.namespace}, which tasks mount")
            continue
        phase, modes = (found.get("status") or {}).get("phase"), found["spec"].get("accessModes") or []
        if phase == "Bound":
            yield _mode(name, modes)
        elif phase == "Pending":
            yield _pending(kubernetes, name, found)
        else:
            yield problem("claim", f"{name} is {phase}: the volume behind it is gone")


def _mode(name: str, modes: Sequence[str]) -> Finding:
    """Say whether pods of several nodes can write a bound claim."""
    if "ReadWriteMany" in modes:
        return ok("claim", f"{name} is bound, and every node can write it")
    if "ReadWriteOnce" in modes:
        return warning("claim", f"{name} is ReadWriteOnce: tasks on another node wait until it is free there")
    return problem("claim", f"{name} is {', '.join(modes)}: tasks of several nodes have to write it (ReadWriteMany)")


def _pending(kubernetes: Kubernetes, name: str, claim: Object) -> Finding:
    """Say why a claim is not bound."""
    wanted = claim["spec"].get("storageClassName")
    if not wanted:
        return problem("claim", f"{name} is Pending: it names no storage class, and no volume fits it")
    try:
        found = kubernetes.get(kubernetes.path("storageclasses", wanted, group="storage.k8s.io", namespaced=False))
    except NotThere:
        return problem("claim", f"{name} is Pending: there is no storage class {wanted}")
    except Denied as error:
        return unknown("claim", f"{name} is Pending; its storage class {wanted} was not looked at: {short(error)}")
    if found.get("volumeBindingMode") == BY_FIRST_POD:
        return warning("claim", f"{name} is Pending: the first pod that mounts it lets {wanted} make the volume")
    return problem("claim", f"{name} is Pending: the storage class {wanted} has made no volume for it")
