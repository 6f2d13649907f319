"""Processes that end: killed, told to end, stopped."""

from __future__ import annotations

import os
import signal
import time

from tests.faults.registry import Outcome, case, recovered, stopped
from tests.faults.stand import Stand, children, expect, gone, kill, parent


@case("rank-killed", "kill -9 of one of two ranks in mid-epoch", quick=True)
def rank_killed(stand: Stand) -> Outcome:
    started = stand.start()
    ranks = started.met()
    stand.strike(lambda: kill(ranks[1]))
    outcome = recovered(stand, started, "killed")
    [attempt, _] = stand.document().attempts
    expect(f"process 1 of 2 (pid {ranks[1]})" in attempt.reason, attempt.reason)
    return outcome


@case("rank-terminated", "SIGTERM to one of two ranks")
def rank_terminated(stand: Stand) -> Outcome:
    started = stand.start()
    ranks = started.met()
    stand.strike(lambda: os.kill(ranks[0], signal.SIGTERM))
    return recovered(stand, started, "preempted")


@case("supervisor-killed", "kill -9 of `sightline train`; the same command again")
def supervisor_killed(stand: Stand) -> Outcome:
    started = stand.start()
    ranks = started.met()
    launcher = parent(ranks[0])
    stand.strike(started.process.kill)
    started.wait()
    gone([launcher, *ranks.values()])
    return recovered(stand, stand.start(), "killed")


@case("job-killed", "kill -9 of `sightline train`, torchrun and all ranks; the same command again")
def job_killed(stand: Stand) -> Outcome:
    started = stand.start()
    ranks = started.met()
    everybody = [started.process.pid, parent(ranks[0]), *ranks.values()]
    stand.strike(lambda: kill(*everybody))
    started.wait()
    gone(everybody[1:])
    return recovered(stand, stand.start(), "killed")


@case("torchrun-killed", "kill -9 of torchrun, which looks after the ranks")
def torchrun_killed(stand: Stand) -> Outcome:
    started = stand.start()
    ranks = started.met()
    stand.strike(lambda: kill(parent(ranks[0])))
    return recovered(stand, started, "killed")


@case("supervisor-terminated", "SIGTERM to `sightline train`: exit 130 in 2 s; the same command again")
def supervisor_terminated(stand: Stand) -> Outcome:
    started = stand.start()
    ranks = started.met()
    launcher = parent(ranks[0])
    stand.strike(started.process.terminate)
    code = started.wait(20)
    seconds = time.monotonic() - (stand.struck or 0)
    gone([launcher, *ranks.values()])
    expect(code == 130, f"exit code {code}: {started.output[-600:]}")
    expect(seconds < 2, f"it took {seconds:.1f} s to end")
    [attempt] = stand.attempts()
    expect(attempt.ending == "preempted", attempt)
    outcome = recovered(stand, stand.start(), "preempted")
    return Outcome(f"exit 130 after {seconds:.1f} s; {outcome.ended}", outcome.attempts, outcome.seconds)


@case("rank-stopped", "SIGSTOP of one of two ranks: no progress for 6 s, which are allowed here")
def rank_stopped(stand: Stand) -> Outcome:
    stand.variables["SIGHTLINE_TRAIN_SILENCE"] = "6"
    started = stand.start()
    ranks = started.met()
    stand.strike(lambda: os.kill(ranks[1], signal.SIGSTOP))
    outcome = recovered(stand, started, "hang")
    [attempt, _] = stand.document().attempts
    log = (stand.run / "train" / "train.log").read_text(encoding="utf-8")
    for rank in (0, 1):
        expect(f"stacks-{rank}.txt" in attempt.reason, f"no stacks of rank {rank}: {attempt.reason}")
        expect(f"--- stacks-{rank}.txt" in log, f"no stacks of rank {rank} in the log")
    expect("had stopped process 1 of 2 (SIGSTOP)" in attempt.reason, attempt.reason)
    return outcome


@case("loader-killed", "kill -9 of a process that loads images")
def loader_killed(stand: Stand) -> Outcome:
    started = stand.start(cpu_processes=1, workers=2)
    ranks = started.met()
    loaders = children(ranks[0])
    expect(loaders, "no loaders")
    stand.strike(lambda: kill(loaders[0]))
    return recovered(stand, started, "loader_died")


@case("recovery-off", "kill -9 of a rank with train.recover=off")
def recovery_off(stand: Stand) -> Outcome:
    started = stand.start(recover="off")
    ranks = started.met()
    stand.strike(lambda: kill(ranks[1]))
    return stopped(stand, started, "killed", f"process 1 of 2 (pid {ranks[1]}) was ended by SIGKILL")
