"""What can be asked of a cluster from here, without a pod: everything at the same time, within seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial

from sightline.cluster import Kubernetes, account, limits, namespace, placement, quotas, reach, settings
from sightline.cluster.amounts import Amounts
from sightline.cluster.api import Denied, NotThere, Unauthorized
from sightline.cluster.findings import Finding, Level, ok, problem, unknown
from sightline.cluster.needs import Needs
from sightline.cluster.questions import Questions
from sightline.errors import ClusterError, ClusterUsageError
from sightline.orchestrate import registry
from sightline.orchestrate.cluster_check.server import HOME, PipelinesServer
from sightline.orchestrate.kfp_api import OVER, Server

SECONDS = 12.0  # for all questions together
KFP_SECONDS, KUBERNETES_SECONDS = 5.0, 9.0  # of them, after which the rest goes on with what is known
KFP, CHECK, IMAGES = "kfp", "kubernetes", "images"
SERVICE = "ml-pipeline"  # KFP's own, in its namespace


@dataclass
class Outside:
    """What was asked from outside, and what it showed."""

    findings: list[Finding]
    kubernetes: Kubernetes | None  # None where it is not there to be asked
    outage: bool  # neither Kubernetes nor KFP answered


class KubernetesServer:
    """Kubernetes' API, if it is there and belongs to the cluster of Kubeflow Pipelines."""

    def __init__(self, pipelines: PipelinesServer, ready: Callable[[], object]) -> None:
        """Take the server of Kubeflow Pipelines, and what returns once that has said where runs work."""
        self._pipelines, self._ready = pipelines, ready
        self.api: Kubernetes | None = None
        self.there = False  # something names it
        self.answered = False

    def findings(self) -> Iterator[Finding]:
        """Yield whether Kubernetes can be asked; afterwards `api` is set, with the namespace of runs."""
        try:
            api = reach()
            if api is None:
                yield unknown(CHECK, "not checked: there is no kubeconfig, and no account of a pod")
                return
            self.there = True
            _knock(api)
        except Unauthorized as error:
            self.answered = True
            yield problem(CHECK, f"the API server does not accept your credentials: {error.message}")
            return
        except ClusterUsageError as error:
            yield problem(CHECK, error.message)
            return
        except ClusterError as error:
            yield unknown(CHECK, f"not checked: {error.message}")
            return
        self.answered = True
        self._ready()
        if why_not := self._another_cluster(api):
            yield unknown(CHECK, f"not checked: {why_not}")
            return
        self.api = api
        yield ok(CHECK, f"{api.who} answers at {api.address}")

    def _another_cluster(self, api: Kubernetes) -> str:
        """Say why this seems to be another cluster than that of KFP; else set the namespace of runs.

        A kubeconfig may lead anywhere, and what another cluster lacks must not stop a run.
        """
        names = self._pipelines.namespaces
        api.namespace = names[0]
        if self._pipelines.through_kubernetes:
            return ""
        leads = f"{api.who} leads to {api.address}"
        there = self._newest_run_is_there(api)
        if there is not None:
            return (
                "" if there else f"{leads}, and the run {self._pipelines.run.display_name} goes on in another cluster"
            )
        shared = self._pipelines.server and self._pipelines.server.shared
        homes = [HOME] if shared else names
        for name in homes:
            try:
                api.get(f"/api/v1/namespaces/{name}/services/{SERVICE}")
            except NotThere:
                continue
            except Denied:
                return ""
            api.namespace = api.namespace if shared else name
            return ""
        return (
            f"{leads}, where {' and '.join(homes)} has no service {SERVICE}: another cluster than that of Kubeflow "
            "Pipelines"
        )

    def _newest_run_is_there(self, api: Kubernetes) -> bool | None:
        """Say whether Kubernetes has the newest run's workflow; None where that cannot be told."""
        meta, run = self._pipelines.workflow.get("metadata") or {}, self._pipelines.run
        if not meta.get("name"):
            return None
        try:
            found = api.get(api.path("workflows", meta["name"], group="argoproj.io", version="v1alpha1"))
        except NotThere:  # an old one is removed after a while
            return None if run.state in OVER else False
        except Denied:
            return None
        return bool(found["metadata"].get("uid") == meta.get("uid"))


def _knock(api: Kubernetes) -> None:
    """See that Kubernetes answers who asks; what is not allowed each question says itself. Raises ClusterError."""
    try:
        api.may("get", "pods")
    except Unauthorized:
        raise
    except Denied:
        pass


def look(
    pipelines: PipelinesServer, tasks: Sequence[Needs], *, images: Sequence[str], service_account: str | None
) -> Outside:
    """Ask everything that takes no pod; `images` are those to ask their registries for."""
    questions = Questions(SECONDS)
    questions.ask(KFP, partial(pipelines.findings, tasks), late=problem(KFP, f"no answer within {SECONDS:.0f} s"))
    kubernetes = KubernetesServer(pipelines, partial(pipelines.known.wait, KFP_SECONDS))
    questions.ask(CHECK, kubernetes.findings)
    for reference in images:
        questions.ask(IMAGES, partial(_image, reference))
    questions.wait(CHECK, KUBERNETES_SECONDS)
    if kubernetes.api:
        _ask(questions, kubernetes.api, tasks, pipelines.account(service_account))
    findings = list(_joined(questions.findings()))
    return Outside(findings, kubernetes.api, outage=pipelines.outage and not kubernetes.answered)


def kubernetes_alone(server: Server, tasks: Sequence[Needs], *, service_account: str | None) -> list[Finding]:
    """Ask Kubernetes alone what a run on this server would meet; nothing where there is no way to ask."""
    pipelines = PipelinesServer(None, "", server)
    questions = Questions(SECONDS)
    kubernetes = KubernetesServer(pipelines, pipelines.read_newest)
    questions.ask(CHECK, kubernetes.findings)
    questions.wait(CHECK, KUBERNETES_SECONDS)
    if kubernetes.api:
        _ask(questions, kubernetes.api, tasks, pipelines.account(service_account))
    found = questions.findings()
    if not kubernetes.there:
        return []
    # Who cannot ask Kubernetes may submit all the same.
    return [unknown(each.check, each.words) if each.check == CHECK else each for each in found if each.level != "ok"]


def _ask(questions: Questions, api: Kubernetes, tasks: Sequence[Needs], service_account: str) -> None:
    """Start the questions about what tasks need of the namespace and the nodes."""
    questions.ask("namespace", partial(namespace.namespace, api, tasks))
    questions.ask("account", partial(account.account, api, service_account))
    several = any(task.count > 1 for task in tasks)
    questions.ask("rights", partial(account.rights, api, service_account, several=several))
    questions.ask("settings", partial(settings.config_maps, api, tasks))
    rules = cache(partial(limits.rules, api))

    def beside() -> Amounts:
        try:
            return rules().beside
        except Denied:  # the check of limits says so; Argo's container asks for little
            return {}

    questions.ask("limits", lambda: limits.ranges(rules(), tasks))
    questions.ask("quota", lambda: quotas.quotas(api, rules(), tasks))
    questions.ask("nodes", lambda: placement.places(api, tasks, beside()))
    questions.ask("runtime", partial(namespace.runtime_class, api, tasks))
    questions.ask("claim", partial(namespace.claims, api, tasks))


def _image(reference: str) -> Iterator[Finding]:
    image = registry.asked(reference)
    if image.missing:
        yield problem(IMAGES, f"{reference}: not in its registry; push it with `make push`")
    elif image.checked:
        yield ok(IMAGES, f"{reference}: in its registry")
    else:
        yield unknown(IMAGES, f"{reference}: not checked, {image.why}")


def _joined(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Join the lines of images of which the same is to be said."""
    alike: dict[tuple[Level, str], list[str]] = {}
    for each in findings:
        reference, _, words = each.words.partition(": ")
        if each.check != IMAGES or " " in reference:  # also one whose registry did not answer in time
            yield each
        else:
            alike.setdefault((each.level, words), []).append(reference)
    for (level, words), references in alike.items():
        yield Finding(IMAGES, level, f"{', '.join(references)}: {words}")
