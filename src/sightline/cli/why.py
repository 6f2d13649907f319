"""`sightline why`: why a run on a cluster ended as it did, or does not go on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.text import Text

from sightline.cli import following
from sightline.cli.options import Json, non_empty, print_lines, styled
from sightline.cli.submit import Namespace
from sightline.errors import ClusterError, SightlineError, StageInputError
from sightline.runtime.terminal import print_json

if TYPE_CHECKING:
    from sightline.orchestrate.named_run import Named
    from sightline.storage import Store
    from sightline.why import Cause, Seen

KFP_HOME = "kubeflow"  # where Kubeflow Pipelines is installed, and runs work where it has one namespace
Source = TypeVar("Source")
RunText = Annotated[
    str,
    typer.Argument(parser=non_empty, metavar="RUN", help="Id of a run, its name, or its address in the dashboard."),
]


def why(run: RunText, namespace: Namespace = None, as_json: Json = False) -> None:
    """Say why a run on a cluster ended as it did, or what it waits for: the cause, what shows it, what to do.

    Asked are Kubeflow Pipelines (KFP_ENDPOINT), the run's documents (SIGHTLINE_STORE) and, by the kubeconfig, pods and
    events. Each is optional; what could not be asked is said. Evidence expires: ask soon.

    sightline why 2a4d9a05-…

    sightline why nightly --json
    """
    from sightline import cluster
    from sightline.orchestrate import named_run
    from sightline.orchestrate.kfp_api import Server
    from sightline.why import cause, look, standing

    unasked: list[str] = []
    server = _source("Kubeflow Pipelines", unasked, lambda: Server(namespace))
    store = _source("the store", unasked, _store)
    kubernetes = _source("Kubernetes", unasked, lambda: cluster.reach(namespace, wait=following.WAIT))
    if kubernetes and kubernetes.namespace == "default":  # the context names none; a workflow names the right one
        kubernetes = kubernetes.within(KFP_HOME)
    if kubernetes is None and not any(line.startswith("Kubernetes") for line in unasked):
        unasked.append("Kubernetes: there is no kubeconfig here, so its pods and events were not asked")
    if server is None and store is None and kubernetes is None:
        raise ClusterError("Nothing could be asked about this run.", unasked)
    found = named_run.find(run, server, store)
    unasked += found.unasked
    if found.named is None:  # Kubernetes knows no names of runs
        raise _unknown(run, denied=found.server is not None, unasked=unasked)
    seen = look(found.named.run_id, store=found.store, kubernetes=kubernetes, server=found.server)
    unasked += seen.unasked
    if not found.known and not seen.known:
        asked = kubernetes is not None and not any(line.startswith("Kubernetes") for line in unasked)
        raise _unknown(run, denied=found.server is not None or asked, unasked=unasked)
    _show(found.named, seen, cause(seen), standing(seen), unasked, as_json)


def _unknown(run: str, *, denied: bool, unasked: list[str]) -> SightlineError:
    """Return the error for a run that nothing knows; `denied` says whether who would know it was asked.

    Before its first stage has begun, only Kubeflow Pipelines and Kubernetes know a run.
    """
    if denied:
        return StageInputError(f"No run is known by the id, the name or the address '{run}'.", unasked)
    return ClusterError(f"Whether there is a run '{run}' is not known, as these could not be asked:", unasked)


def _source(name: str, unasked: list[str], open_it: Callable[[], Source]) -> Source | None:
    """Return a source, or None with the reason among `unasked`."""
    try:
        return open_it()
    except SightlineError as error:
        unasked.append(f"{name}: {' '.join(str(error).split())}")
        return None


def _store() -> Store:
    """Open the store that the environment names. Raises SightlineError."""
    from sightline.storage import open_store

    if uri := os.environ.get("SIGHTLINE_STORE"):
        return open_store(uri)
    raise StageInputError("SIGHTLINE_STORE is not set here, so the documents of its stages were not read.")


def _show(named: Named, seen: Seen, cause: Cause | None, standing: str, unasked: list[str], as_json: bool) -> None:
    if as_json:
        result: dict[str, Any] = {
            "run_id": named.run_id,
            "name": named.name,
            "others": list(named.others),
            "over": seen.over,
            "standing": None if cause else standing,
            "cause": cause and cause.model_dump(mode="json"),
            "not_asked": unasked,
        }
        print_json(json.dumps(result, indent=2))
        return
    called = f"{named.name} ({named.run_id})" if named.name else named.run_id
    lines: list[str | Text] = [f"run        {called}"]
    if named.others:
        others = ", ".join(named.others[:5]) + (", …" if len(named.others) > 5 else "")
        lines.append(f"           the newest of {len(named.others) + 1} of this name; before it {others}")
    lines += following.cause_lines(cause) if cause else [f"cause      {standing}"]
    print_lines([*lines, *(styled(("not asked  ", "dim"), line) for line in unasked)])
