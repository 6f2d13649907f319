"""What a person reads while a run on a cluster is followed, and when it has ended."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.text import Text

from sightline.cli import output
from sightline.cli.options import err, out, print_lines, styled
from sightline.errors import ClusterError
from sightline.runtime.terminal import print_json

if TYPE_CHECKING:
    from sightline.cluster import Kubernetes
    from sightline.documents import SummaryDocument
    from sightline.documents.cause import Cause
    from sightline.orchestrate.follow import Change, Ended, Follower
    from sightline.orchestrate.resubmit import Resubmission

WAIT = 5.0  # seconds for a question to Kubernetes
COLOURS = {"done": "green", "cached": "green", "failed": "red", "waiting": "yellow"}


def kubernetes() -> Kubernetes | None:
    """Return the cluster of the kubeconfig, which can say more of a pod than Kubeflow Pipelines; None without one."""
    from sightline import cluster

    with contextlib.suppress(ClusterError):  # a run can be followed without
        return cluster.reach(wait=WAIT)
    return None


def follow(
    follower: Callable[[str], Follower],
    run_id: str,
    result: dict[str, Any],
    as_json: bool,
    again: Resubmission | None = None,
) -> int:
    """Print what happens until the run is over, and the runs that follow it; returns the exit code of the last one.

    `follower` makes what follows a run. Ctrl-C leaves the run alone.
    """
    while True:
        ended = _to_its_end(follower(run_id), run_id, result, as_json)
        if ended is None:
            return 0
        if not as_json:
            _print_ended(ended)
        following, problem = _started_again(again, ended, as_json) if again else (None, None)
        if following is None:
            if as_json:
                more = {"resubmitted": again.earlier, "not_resubmitted": problem} if again else {}
                print_json(json.dumps(result | _ended(ended) | more, indent=2))
            return _exit_code(ended)
        run_id = following


def _started_again(again: Resubmission, ended: Ended, as_json: bool) -> tuple[str | None, str | None]:
    """Start the run again if that helps, and say so; returns the new run's id, or why it could not be started.

    How the run ended is known, and whatever happens here does not take that away.
    """
    console = err if as_json else out
    if not (why := again.why(ended)):
        return None, None
    try:
        run_id = again.start(ended, why, tell=lambda words: console.print(styled(("note:", "yellow"), f" {words}")))
    except (ClusterError, KeyboardInterrupt) as error:
        problem = " ".join(str(error).split()) or "It was interrupted."
        err.print(styled(("note:", "yellow"), f" the run was not started again. {problem}"))
        return None, problem
    lines = [f"again      started again ({len(again.earlier)} of {again.most}): {why}"]
    lines += [f"see        {again.server.run_address(run_id)}", f"follow     sightline submit --follow {run_id}"]
    for line in lines:
        console.print(line, markup=False, highlight=False)
    return run_id, None


def _to_its_end(follower: Follower, run_id: str, result: dict[str, Any], as_json: bool) -> Ended | None:
    """Print what happens until the run is over; returns how it ended, or None after Ctrl-C."""
    console = err if as_json else out
    try:
        with console.status("following the run") if console.is_terminal else contextlib.nullcontext():
            for change in follower.changes():
                console.print(_change_line(change), markup=False)
    except KeyboardInterrupt:
        if as_json:
            print_json(json.dumps(result | {"run_id": run_id}, indent=2))
        err.print(f"The run goes on. Follow it again: sightline submit --follow {run_id}", markup=False)
        return None
    except ClusterError as error:
        if not follower.found:
            raise
        raise type(error)(f"{error.message} The run goes on: sightline submit --follow {run_id}") from None
    return follower.ended()


def _change_line(change: Change) -> Text:
    from sightline.orchestrate.follow import duration

    if not change.task:
        return styled(("note:", "yellow"), f" {change.words}")
    if change.cause:
        return styled((change.words, "yellow"))
    time = duration(change.seconds) if change.seconds is not None and change.state in ("done", "failed") else ""
    text = ": ".join(part for part in (time, change.words) if part)
    word = "starting" if change.state == "waiting" and not change.words else change.state or ""
    return styled(f"{change.task:<10} ", (f"{word:<8}", COLOURS.get(str(change.state), "")), f" {text}")


def _ended(ended: Ended) -> dict[str, Any]:
    """Return how a run ended, for --json."""
    return {
        "run_id": ended.run_id,
        "state": ended.state,
        "tasks": [
            {"name": task.name, "state": task.state, "seconds": task.seconds, "message": task.message}
            for task in ended.tasks
        ],
        "logs": [{"task": log.task, "message": log.message, "lines": list(log.lines)} for log in ended.logs],
        "given_up": ended.given_up or None,
        "cause": ended.cause and ended.cause.model_dump(mode="json"),
        "no_summary": ended.no_summary or None,
        "summary": ended.summary and ended.summary.model_dump(mode="json", by_alias=True),
    }


def _print_ended(ended: Ended) -> None:
    for log in ended.logs:
        out.print()
        out.print(styled((f"{log.task} failed", "bold red"), f": {log.message}" if log.message else ""))
        print_lines([f"  {line}" for line in log.lines] or ["  Its log cannot be read."])
    if ended.summary:
        output.print_result(ended.summary, out)
    out.print()
    if ended.cause and ended.state != "SUCCEEDED":
        print_lines([*_beside(ended.summary, ended.cause), ""])
    if ended.given_up:
        out.print(styled(("given up", "bold red"), f": {ended.given_up}."))
    if ended.no_summary:
        out.print(styled(("note:", "yellow"), f" {ended.no_summary} The states of its tasks say how it ended."))
    out.print(f"The run {ended.name} is over: {ended.state.lower() or 'in an unknown state'}.", markup=False)


def cause_lines(cause: Cause) -> list[str | Text]:
    """Say why: the cause, what shows it, what to do, and whether nothing but running again is needed."""
    again = "is all that is needed" if cause.again else "as it is would most likely end the same"
    return [
        _titled("cause", cause.sentence, "bold red" if cause.ended else "bold yellow"),
        *evidence_lines(cause),
        _titled("do", cause.do),
        *([_titled("again", f"Running it again {again}.")] if cause.ended else []),
    ]


def _beside(summary: SummaryDocument | None, cause: Cause) -> list[str | Text]:
    """Say of a cause what a summary that was printed does not: its error is the cause in short, or a stage's own."""
    if summary is None or summary.error is None:
        return cause_lines(cause)
    if cause.sentence in summary.error.message:
        return evidence_lines(cause)
    first, *rest = cause_lines(cause)
    return rest[len(cause.evidence) :] if cause.kind in ("stage", "rejected") else [first, *rest]


def evidence_lines(cause: Cause) -> list[str | Text]:
    """Say what shows a cause."""
    return [_titled("" if place else "evidence", line) for place, line in enumerate(cause.evidence)]


def _titled(title: str, text: str, style: str = "") -> Text:
    return styled((f"{title:<10} ", "dim"), (text, style))


def _exit_code(ended: Ended) -> int:
    """Return the run's own exit code; without a summary, 0 if it succeeded, else 1."""
    if ended.given_up:
        return 1
    if ended.summary and (code := output.exit_code(ended.summary)):
        return code
    return 0 if ended.state == "SUCCEEDED" else 1
