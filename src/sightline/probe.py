"""What a pod of a run would meet, asked from such a pod: `python -m sightline.probe QUESTION`, for the cluster check.

It prints one line, `sightline-check: ` and a JSON list of findings. Values of settings are never printed.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import urllib3

from sightline.cluster import account, reach
from sightline.cluster.findings import Finding, ok, problem, unknown, warning
from sightline.cluster.job import ANSWER
from sightline.cluster.needs import Reference
from sightline.cluster.questions import hidden
from sightline.cluster.settings import told
from sightline.config import RegisterConfig
from sightline.errors import ClusterError, SightlineError
from sightline.runtime import kfp_server
from sightline.storage import check_cache, default_store, open_store
from sightline.tracking.address import redact, tracking_uri
from sightline.tracking.check import asking

# A person waits: an outage that a run would wait out for minutes is said after seconds.
PATIENCE = {"SIGHTLINE_S3_WAIT": "10", "SIGHTLINE_TRACKING_WAIT": "10"}
SKEW, REFUSED = 60, 300  # seconds of difference between two clocks: worth a word; near what S3 refuses (15 minutes)
CONTENT = b"sightline cluster check\n"


def main(question: str) -> None:
    """Ask everything, and print what was found."""
    asked = json.loads(question)
    os.environ.update(PATIENCE)
    found: list[Finding] = []
    for check, part in (
        ("settings", lambda: settings(asked)),
        ("store", store),
        ("cache", lambda: cache(bool(asked["claims"]))),
        ("tracking", lambda: tracking(asked["register"])),
        ("rights", lambda: rights(bool(asked["several"]))),
        ("ending", ending),
    ):
        found += answered(check, part)
    print(f"\n{ANSWER}{json.dumps([asdict(each) for each in found])}", flush=True)


def answered(check: str, part: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """Return what a part found; an error meant for the user is a problem."""
    found: list[Finding] = []
    try:
        for each in part():
            found.append(each)
    except ClusterError as error:
        found.append(hidden(check, error))
    except SightlineError as error:
        found.append(problem(check, str(error)))
    return found


def settings(asked: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield which settings reach this pod."""
    wanted = [Reference(**each) for each in asked["environment"]]
    return told(wanted, {each.variable: os.environ.get(each.variable) for each in wanted})


def store() -> Iterator[Finding]:
    """Write, list, read and delete a small object, and compare the store's clock with ours."""
    opened = open_store(default_store())
    key = f"checks/{secrets.token_hex(8)}"
    before = time.time()
    opened.put_bytes(key, CONTENT)
    after = time.time()
    written = next((each.modified for each in opened.entries(key)), None)
    if opened.get_bytes(key) != CONTENT:
        yield problem("store", f"{opened.uri}: what was read is not what was written")
    try:
        opened.delete([key])
    except SightlineError as error:
        yield warning("store", f"{opened.uri}: written and read, but what is old cannot be removed: {error}")
    else:
        yield ok("store", f"{opened.uri}: written, listed, read and deleted")
    if written is None:
        yield unknown("clock", f"{opened.uri} does not list what was just written")
    else:
        yield clock(max(before - written, written - after, 0.0))


def clock(seconds: float) -> Finding:
    """Judge by how much two clocks differ, in seconds."""
    if seconds < SKEW:
        return ok("clock", "the store's clock and the pod's agree")
    words = f"the store's clock and the pod's differ by {seconds:.0f} s; S3 refuses requests from 900 s on"
    return problem("clock", f"{words}. Set them") if seconds > REFUSED else warning("clock", words)


def cache(claimed: bool) -> Iterator[Finding]:
    """See that the cache can be written."""
    check_cache()
    if claimed:
        yield ok("cache", "the claim is mounted, and can be written")


def tracking(register: Mapping[str, Any]) -> Iterator[Finding]:
    """Ask the tracking server as validate does."""
    uri = tracking_uri()
    if uri is None:
        yield ok("tracking", "tracking is switched off: nothing is recorded or registered")
        return
    with asking(uri, RegisterConfig.model_validate(register)) as check:
        problems = check.problems()
    yield from (problem("tracking", each) for each in problems)
    if not problems:
        yield ok("tracking", f"MLflow at {redact(uri)} answers for experiment and model")


def rights(several: bool) -> Iterator[Finding]:
    """Ask what this pod's account may do; a training on several nodes does more."""
    kubernetes = reach()
    if kubernetes is None:
        yield problem("rights", "Kubernetes gives this pod no account, and KFP and Argo need one in every task")
        return
    yield from account.missing(
        "the account of this pod",
        lambda right: kubernetes.may(right.verb, right.plural, group=right.group, name=right.name),
        several=several,
    )


def ending() -> Iterator[Finding]:
    """See that the last task of a run reaches KFP, which tells it why a pod ended."""
    address = kfp_server.endpoint()
    if address is None:
        yield warning("ending", "KFP_ENDPOINT is not set: a run's last task cannot say why a pod was killed")
        return
    token = kfp_server.token()[0]
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    pool = urllib3.PoolManager(timeout=5, retries=False)
    try:
        status = pool.request("GET", f"{address}/apis/v2beta1/healthz", headers=headers).status
        why = "" if status == 200 else f"answers {status}"
    except urllib3.exceptions.HTTPError as error:
        why = f"does not answer ({type(error).__name__})"
    if why:
        yield warning("ending", f"KFP_ENDPOINT {why}: a run's last task cannot say why a pod was killed")
    else:
        yield ok("ending", "a run's last task reaches Kubeflow Pipelines")


if __name__ == "__main__":
    main(sys.argv[1])
