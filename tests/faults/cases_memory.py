"""Memory that runs out: of a GPU, of the machine, of /dev/shm."""

from __future__ import annotations

import subprocess
from functools import partial

import pytest

from tests.faults.registry import Outcome, case, recovered
from tests.faults.stand import Stand, expect
from tests.helpers.control_group import limited

GROUP_BYTES = 4_000_000_000  # enough for two ranks of a nano model on small images
ADDRESS_KIB = 16_000_000  # of address space, most of which torch maps and never uses
SHARED = "mount -t tmpfs -o size=1m tmpfs /dev/shm"


def _gpu_memory(stand: Stand, *, hook: str, ranks: int) -> Outcome:
    started = stand.start(cpu_processes=ranks, hook=f"tests.faults.hooks:{hook}")
    outcome = recovered(stand, started, "cuda_memory")
    document = stand.document()
    first, second = document.attempts
    expect("CUDA out of memory" in first.reason, first.reason)
    expect(second.changed == ["images per pass 8 → 4, passes per step 1 → 2"], second.changed)
    expect(document.config.batch == 8, f"the optimizer's batch became {document.config.batch}")
    return outcome


for _ranks in (1, 2):
    _on = f"on {_ranks} rank{'s' * (_ranks > 1)}"
    case(f"gpu-memory-{_ranks}", f"torch.OutOfMemoryError in epoch 2, {_on}", quick=_ranks == 1)(
        partial(_gpu_memory, hook="out_of_memory", ranks=_ranks)
    )
    case(f"gpu-memory-validation-{_ranks}", f"torch.OutOfMemoryError in validation, {_on}")(
        partial(_gpu_memory, hook="out_of_memory_in_validation", ranks=_ranks)
    )


@case("gpu-memory-ladder", "torch.OutOfMemoryError as long as more than two images pass at once, on 2 ranks")
def gpu_memory_ladder(stand: Stand) -> Outcome:
    started = stand.start(batch=16, hook="tests.faults.hooks:out_of_memory_while_large")
    outcome = recovered(stand, started, "cuda_memory", "cuda_memory")
    settings = [attempt.settings for attempt in stand.document().attempts]
    passed = [(each.batch, each.accumulation) for each in settings if each]
    expect(passed == [(16, 1), (8, 2), (4, 4)], f"images and passes: {passed}")
    return outcome


@case("memory-limit", f"a memory cgroup of {GROUP_BYTES / 1e9:g} GB kills a rank that takes more")
def memory_limit(stand: Stand) -> Outcome:
    with limited(GROUP_BYTES) as before:
        try:
            started = stand.start(*before, hook="tests.faults.hooks:eat_memory")
            outcome = recovered(stand, started, "host_memory")
        finally:
            stand.close()
    [attempt, after] = stand.document().attempts
    expect("SIGKILL" in attempt.reason and "Memory ran out" in attempt.reason, attempt.reason)
    expect(after.changed, "nothing was changed to need less memory")
    return outcome


@case("address-space", "`ulimit -v`: a rank asks for more, and gets a MemoryError")
def address_space(stand: Stand) -> Outcome:
    before = ["sh", "-c", f'ulimit -v {ADDRESS_KIB}; exec "$@"', "sh"]
    started = stand.start(*before, hook="tests.faults.hooks:ask_for_too_much")
    outcome = recovered(stand, started, "host_memory")
    [attempt, _] = stand.document().attempts
    expect("MemoryError" in attempt.reason and "`ulimit -v` allows" in attempt.reason, attempt.reason)
    return outcome


@case("shared-memory", "a /dev/shm of 1 MB, for two loaders")
def shared_memory(stand: Stand) -> Outcome:
    before = ["unshare", "-m", "sh", "-c", f'{SHARED} && exec "$@"', "sh"]
    tried = subprocess.run([*before, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"needs the right to mount a small /dev/shm: {tried.stderr.strip()}")
    # A batch takes 786 kB: one fits, which lets the training start, and what even one loader prepares ahead does not.
    started = stand.start(*before, workers=2, image_size=128, batch=16, cpu_processes=1)
    stand.strike(lambda: None)
    outcome = recovered(stand, started, "shared_memory", "shared_memory", kept=0)
    changed = [change for attempt in stand.document().attempts for change in attempt.changed]
    expect(changed == ["loaders per process 2 → 1", "loaders per process 1 → 0"], changed)
    return Outcome(outcome.ended, outcome.attempts)
