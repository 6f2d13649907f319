"""The settings of a team, as tasks get them: which reach them, and which are missing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from sightline.cluster.api import Kubernetes, NotThere
from sightline.cluster.findings import Finding, ok, problem, warning
from sightline.cluster.needs import Needs, Reference

STORE, TRACKING, SWITCH = "SIGHTLINE_STORE", "MLFLOW_TRACKING_URI", "SIGHTLINE_TRACKING"
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
PAIRS = (KEYS, ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"))


def references(tasks: Sequence[Needs]) -> list[Reference]:
    """Return the variables that come from ConfigMaps and Secrets, each once; what some task insists on is needed."""
    found: dict[tuple[str, str, str, str], Reference] = {}
    for task in tasks:
        for each in task.environment:
            key = (each.kind, each.name, each.key, each.variable)
            if key not in found or not each.optional:
                found[key] = each
    return list(found.values())


def config_maps(kubernetes: Kubernetes, tasks: Sequence[Needs]) -> Iterator[Finding]:
    """Yield what the ConfigMaps of tasks hold, seen from outside; Secrets are left to the pods that get them."""
    wanted = [each for each in references(tasks) if each.kind == "ConfigMap"]
    held: dict[str, dict[str, str] | None] = {}
    for name in sorted({each.name for each in wanted}):
        try:
            held[name] = dict(kubernetes.get(kubernetes.path("configmaps", name)).get("data") or {})
        except NotThere:
            held[name] = None
    yield from told(wanted, {each.variable: (held[each.name] or {}).get(each.key) for each in wanted}, absent(held))


def absent(held: Mapping[str, object | None]) -> set[str]:
    """Return the names of what is not there."""
    return {name for name, content in held.items() if content is None}


def told(
    wanted: Sequence[Reference], values: Mapping[str, str | None], gone: Collection[str] = ()
) -> Iterator[Finding]:
    """Yield a line for each ConfigMap and Secret: which settings reach tasks, by name alone, and what a run lacks.

    `values` are by variable, None for what does not reach them; `gone` names what is known not to exist.
    """
    for kind, name in dict.fromkeys((each.kind, each.name) for each in wanted):
        own = [each for each in wanted if (each.kind, each.name) == (kind, name)]
        there = [each.variable for each in own if values.get(each.variable)]
        check = "settings" if kind == "ConfigMap" else "secrets"
        if insisted := [each.key for each in own if not each.optional and values.get(each.variable) is None]:
            yield problem(check, f"{kind} {name}: {', '.join(insisted)} missing; tasks that name it never start")
        if there:
            yield ok(check, f"{kind} {name}: {', '.join(there)}")
        else:
            state = "is not there" if name in gone else "is missing, or has none of the keys that tasks read"
            yield (problem if kind == "ConfigMap" else ok)(check, f"the {kind} {name} {state}")
        for pair in PAIRS if kind == "Secret" else ():
            lacking = [each for each in pair if each not in there]
            if len(lacking) == 1 and {each.variable for each in own} >= set(pair):
                yield problem(check, f"the Secret {name} has no key {lacking[0]}, which belongs to the other one")
    yield from _lacking({each.variable for each in wanted}, values)


def _lacking(names: set[str], values: Mapping[str, str | None]) -> Iterator[Finding]:
    """Yield what validate would refuse a run for."""
    if STORE in names and not values.get(STORE):
        yield problem("settings", f"{STORE} is not set: validate would refuse the run. It names the store, s3://…")
    if TRACKING in names and not values.get(TRACKING) and values.get(SWITCH) != "off":
        yield problem(
            "settings",
            f'{TRACKING} is not set: validate would refuse the run. It names the tracking server; {SWITCH}: "off" does '
            "without one",
        )
    if {*KEYS} <= names and (values.get(STORE) or "").startswith("s3://") and not any(map(values.get, KEYS)):
        yield problem("secrets", f"{' and '.join(KEYS)} reach no task, and the store asks for them")
    if (value := values.get(SWITCH)) not in (None, "", "on", "off"):
        yield problem("settings", f"{SWITCH} is '{value}', expected on or off (in YAML with quotes)")
    if STORE in names and (values.get(STORE) or "s3://").partition("://")[0] != "s3":
        yield warning("settings", f"{STORE} is no s3:// address: a folder has to be mounted into every task")
