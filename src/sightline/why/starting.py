"""Why a pod that a node has taken does not start: its image, a Secret or ConfigMap, its runtime."""

from __future__ import annotations

import re

from sightline.why.case import Case, Found
from sightline.why.words import clause

IMAGE = re.compile(r'(?:image|ref(?:erence)?|manifests? for) [\\]?"?(?P<image>[\w.:@/-]*\w)')
ANSWERS = (  # of a registry, or of the way to it; the first that fits
    ("InvalidImageName|invalid reference format|couldn't parse image", "that is no name of an image"),
    ("ErrImageNeverPull", "it is not on the node, and its pull policy is Never"),
    (r"no such host", "no such registry is known"),
    ("401|403|[Uu]nauthorized|[Dd]enied|authorization failed|[Ff]orbidden", "the registry refuses access"),
    ("429|[Tt]oo ?[Mm]any ?[Rr]equests|rate limit", "the registry says that too much was fetched"),
    (r"not found|manifest unknown|does not exist", "the registry has no such image"),
    ("x509|certificate", "the registry's certificate cannot be verified"),
    ("connection refused|i/o timeout|deadline exceeded|no route to host|EOF", "the registry does not answer"),
    ("no space left", "the node has no disk space left for it"),
)
KEYS = (  # of what is missing
    re.compile(
        r"couldn't find key (?P<key>\S+) in (?P<kind>Secret|ConfigMap) (?:[^/\s]+/)?(?P<name>[\w.-]*\w)", re.IGNORECASE
    ),
    re.compile(r"(?P<kind>secret|configmap|persistentvolumeclaim|serviceaccount) \"(?P<name>[^\"]+)\" not found"),
    re.compile(r"no (?P<kind>PriorityClass) with name (?P<name>\S+) was found"),
    re.compile(r"volume \"(?P<name>[^\"]+)\".*references non-existent (?P<kind>secret|config) key:? (?P<key>\S+)"),
)
KINDS = {
    "secret": "Secret",
    "configmap": "ConfigMap",
    "persistentvolumeclaim": "PersistentVolumeClaim",
    "serviceaccount": "service account",
    "priorityclass": "PriorityClass",
    "config": "ConfigMap",
}


def image(case: Case, found: Found) -> dict[str, str] | None:
    """Say which image cannot be fetched, and what the registry answers."""
    words = " ".join(line.text for line in case.lines if re.search("[Ii]mage|pull", line.text))
    named = IMAGE.search(found.text) or IMAGE.search(words)
    which = str(case.container().get("image") or "") or (named["image"] if named else "")
    answer = next((said for pattern, said in ANSWERS if re.search(pattern, words)), "")
    what = f"its image {which} cannot be fetched" if which else "its image cannot be fetched"
    return {"what": f"{what}: {answer}" if answer else what}


def missing(case: Case, found: Found) -> dict[str, str] | None:
    """Say which Secret, ConfigMap or key is not there."""
    for pattern in KEYS:
        if named := pattern.search(found.text):
            facts = named.groupdict()
            kind = KINDS[facts["kind"].lower()]
            if key := facts.get("key"):
                return {"what": f"the {kind} {facts['name']} has no key {key.rstrip('.')}"}
            return {"what": f"there is no {kind} {facts['name']}"}
    return None


def runtime(case: Case, found: Found) -> dict[str, str] | None:
    """Say which runtime a RuntimeClass means, and that it is not there."""
    wanted = str(case.spec.get("runtimeClassName") or "")
    if "RuntimeClass" in found.text and "not found" in found.text:
        return {"what": f"there is no RuntimeClass {wanted or found.groups['name']}"}
    node = case.pod.node or case.spec.get("nodeName")
    where = f"the node {node}" if node else "its node"
    of = f", which the RuntimeClass {wanted} asks for" if wanted else ""
    return {"what": f"{where} has no runtime {found.groups['name']}{of}"}


def refused_by_node(case: Case, found: Found) -> dict[str, str] | None:
    """Give the node's own words."""
    return {"what": clause(found.text)}
