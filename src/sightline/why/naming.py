"""One cause out of a pod's lines: the row of the table that fits, its sentence, and the evidence under it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sightline.documents.cause import Cause
from sightline.runtime.stage_frame import moment
from sightline.why.case import Case, Line
from sightline.why.table import AGAIN, ROWS, Facts, Row, matches

SHOWN = 10  # lines of evidence


def fitting(case: Case, rows: Iterable[Row]) -> tuple[Row, Facts, Line]:
    """Return the first row that fits a line, with its facts; the last row and the last line where none does.

    Nothing keeps a pod from starting that has started, whatever its containers say.
    """
    lines = case.lines or (Line("workflow", case.pod.message or "no message"),)
    for row in (row for row in rows if not (row.waits and case.started)):
        for line in lines:
            found = matches(row, line)
            if found and (facts := row.parse(case, found)) is not None:
                return row, {"do": ""} | dict(found.groups) | facts, line
    return ROWS[-1], {"do": "", "words": case.pod.message or "nothing says how"}, lines[-1]


def made(case: Case, row: Row, facts: Facts, line: Line) -> Cause:
    """Return the cause that a row names; the fact `says` stands for the row's own words."""
    says = facts.get("says") or row.says.format_map(facts)
    again = bool(facts["again"]) if "again" in facts else row.again
    sentence, do = f"{capital(case.who)} {says}.", row.do.format_map(facts) or AGAIN
    return of(case, kind=row.kind, sentence=sentence, evidence=evidence(case, None, line), do=do, again=again)


def of(case: Case, **values: Any) -> Cause:
    """Return a cause that struck a pod's task, as it was seen."""
    return Cause(**({"task": case.pod.task, "again": False, "seen_at": moment(case.seen.at.timestamp())} | values))


def evidence(case: Case, inner: Cause | None, *first: Line) -> list[str]:
    """Return what shows the cause: the line that says it, the others about the pod, and earlier attempts."""
    shown = list(inner.evidence if inner else [])
    for line in (*first, *case.lines):
        if len(shown) < SHOWN and not any(line.text in other for other in shown):
            shown.append(str(line))
    number = len(case.attempts)
    for place, pod in enumerate(case.attempts, start=1):
        if pod.name != case.pod.name and pod.state == "failed":
            shown.append(f"attempt {place} of {number}: {pod.message or 'failed'}")
    if case.pod.name in case.seen.gone and case.placed:
        shown.append(f"Kubernetes no longer has the pod {case.pod.name}")
    return shown


def capital(who: str) -> str:
    """Start a sentence with it; names of tasks stay as they are."""
    return who[0].upper() + who[1:] if who.startswith("the ") else who
