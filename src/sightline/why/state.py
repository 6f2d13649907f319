"""How a run stands where nothing is wrong with it, in a sentence."""

from __future__ import annotations

from sightline.runtime import workflow
from sightline.why.case import Case
from sightline.why.own import is_good
from sightline.why.seen import Seen
from sightline.why.words import duration, joined


def standing(seen: Seen) -> str:
    """Say how a run ended well, or what it is doing."""
    if is_good(seen) and seen.summary:
        return f"It ended {seen.summary.status}; nothing went wrong."
    phase = str((seen.workflow.get("status") or {}).get("phase") or "")
    if phase == "Succeeded":
        return "It succeeded; nothing went wrong."
    if seen.workflow and not workflow.over(seen.workflow):
        tasks = [task for task in workflow.tasks(seen.workflow) if task.state in ("running", "waiting")]
        doing = [_doing(seen, task) for task in tasks]
        return f"It goes on: {joined(doing)}." if doing else "It goes on; no task of it is at work yet."
    if seen.workflow:
        return "Its stages have ended, and its last task is at work."
    return "Nothing is known of how it goes: neither Kubeflow Pipelines nor its documents say more."


def _doing(seen: Seen, task: workflow.Task) -> str:
    since = f" for {duration((seen.at - task.started).total_seconds())}" if task.started else ""
    attempt = f", in attempt {len(task.pods)}" if len(task.pods) > 1 else ""
    said = ""
    if task.state == "running" and task.pods and (sign := Case(seen, task.pods[-1]).sign):
        said = f", last sign {duration(max(0.0, (seen.at - sign.at).total_seconds()))} ago{sign.where}"
    state = "runs" if task.state == "running" else "is starting"
    return f"{task.name} {state}{since}{attempt}{said}"
