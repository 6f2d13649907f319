"""The last known state of a training, by which another process can judge an end that nobody saw.

In a pod with cgroup version 2 the kernel kills the whole container when its memory runs out: the supervisor dies with
its processes, and the next one has nothing but what was written before.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from sightline.config import TrainConfig
from sightline.documents import AttemptSettings
from sightline.documents.signs import Heartbeat, Pulse
from sightline.runtime import machine, pipeline_pod
from sightline.runtime.machine import size_text
from sightline.runtime.stage_frame import moment
from sightline.train import advice
from sightline.train.decisions import Judgement
from sightline.train.pod_end import PodEnd

FAR = 0.8  # of the limit: a peak below was no reason to be killed for it


def take(beats: Sequence[Heartbeat] = (), held: int | None = None) -> Pulse:
    """Return the state of this machine now, and of a training by its heartbeats; `held` is the most seen so far."""
    memory, events = machine.memory(), machine.memory_events()
    return Pulse(
        time=round(time.time(), 3),
        machine=pipeline_pod.machine(),
        pod=pipeline_pod.current(),
        boot=machine.boot_id(),
        beats=tuple(beats),
        limit=memory.limit,
        peak=memory.peak if memory.limit is not None else None,
        held=max(held or 0, memory.used or 0) if memory.limit is not None else None,
        kills=events.kills,
        machine_kills=machine.memory_kills(),
        refusals=events.refusals,
    )


def judge_unseen(
    last: Pulse | None, now: Pulse, config: TrainConfig, settings: AttemptSettings, end: PodEnd | None = None
) -> Judgement:
    """Judge an attempt whose end nobody saw, by its last pulse, one that is taken `now`, and the end of its pod."""
    if end:
        return _by_pod(end, last, config, settings)
    if last is None:
        return Judgement("killed", "Its process ended before it had said anything; nothing was left to say why.")
    evidence = _signs(last)
    elsewhere = (last.boot, last.machine, last.pod) != (now.boot, now.machine, now.pod)
    grown = 0 if elsewhere else _grown(last.kills, now.kills)
    around = 0 if last.boot != now.boot else _grown(last.machine_kills, now.machine_kills)
    if grown or around:
        whose = "in this control group" if grown else "on this machine"
        evidence.append(f"since then the kernel killed {advice.processes(grown or around)} {whose} for memory")
    far = bool(last.limit and last.peak is not None and last.peak < FAR * last.limit)
    if grown or last.full or (around and not far):
        sure = "Memory ran out" if grown else "Probably memory ran out"
        what = f"{sure}: nobody saw the training end, but {'; '.join(evidence[1:])}. "
        return Judgement("host_memory", what + advice.memory(config, settings), tuple(evidence))
    return Judgement("killed", _killed(last, now, elsewhere), tuple(evidence))


def _by_pod(end: PodEnd, last: Pulse | None, config: TrainConfig, settings: AttemptSettings) -> Judgement:
    """Judge by what Kubernetes says of the pod in which the attempt ran."""
    evidence = (f"Kubernetes says of its pod: {end.said}", *(_signs(last) if last else ()))
    cure = f" {advice.memory(config, settings)}" if end.ending == "host_memory" else ""
    return Judgement(end.ending, f"The pod of the training was ended: {end.why}.{cure}", evidence)


def _signs(last: Pulse) -> list[str]:
    """Return what a pulse shows, the time first."""
    signs = [f"last sign at {moment(last.time)}" + (f" ({last.newest})" if last.newest else "")]
    if last.limit is not None:
        used = size_text(last.peak) if last.peak is not None else "an unknown part"
        held = f", {size_text(last.held)} of it not cached files" if last.held is not None else ""
        signs.append(f"memory: {used} of the container's {size_text(last.limit)} used at most{held}")
    return signs


def _killed(last: Pulse, now: Pulse, elsewhere: bool) -> str:
    """Say what is known of an end that memory does not explain."""
    when = moment(last.time)
    if not elsewhere:
        return f"The training and its supervisor were killed after {when}, by `kill -9` or the like; nothing says why."
    if last.machine == now.machine and last.pod == now.pod:
        return f"{now.machine} was started again; the training on it ended with it after {when}."
    return (
        f"The training was on {last.machine} and gave its last sign at {when}: that machine or container was stopped "
        "or lost, and nothing says why."
    )


def _grown(before: int | None, now: int | None) -> int:
    return max(0, now - before) if before is not None and now is not None else 0
