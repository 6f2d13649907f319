"""Cores and memory: what the kernel's files say, as containers of both cgroup versions see them, and real limits."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from sightline.runtime import machine
from sightline.runtime.machine import MemoryEvents

GB = 10**9
V1, V2 = Path("/sys/fs/cgroup"), "30 20 0:26 {top} /sys/fs/cgroup ro - cgroup2 cgroup rw\n"
MEMINFO = "MemTotal:       97656250 kB\nMemFree:  100 kB\nMemAvailable:   48828125 kB\n"


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_limits_of_a_container_with_cgroup_v2(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": "22 27 0:21 / /proc rw - proc proc rw\n" + V2.format(top="/"),
            "proc/vmstat": "nr_free_pages 5\noom_kill 7\n",
            "sys/fs/cgroup/cpu.max": "50000 100000\n",
            "sys/fs/cgroup/memory.max": "4000000000\n",
            "sys/fs/cgroup/memory.current": "3000000000\n",
            "sys/fs/cgroup/memory.peak": "3900000000\n",
            "sys/fs/cgroup/memory.stat": "anon 5\ninactive_file 1000000000\n",
            "sys/fs/cgroup/memory.events": "low 0\nhigh 0\nmax 51\noom 3\noom_kill 2\noom_group_kill 0\n",
            "proc/sys/kernel/random/boot_id": "524ac5fd\n",
        },
    )
    assert machine.cores(root) == 1
    assert machine.memory_events(root) == MemoryEvents(kills=2, refusals=3)
    assert machine.boot_id(root) == "524ac5fd"
    found = machine.memory(root)
    assert (found.total, found.available) == (100 * GB, 50 * GB)
    assert (found.limit, found.used, found.peak) == (4 * GB, 2 * GB, 3_900_000_000)
    assert (found.most, found.room) == (4 * GB, 2 * GB)
    assert machine.memory_kills(root) == 7


def test_limits_of_a_container_with_cgroup_v1(tmp_path: Path) -> None:
    """Docker mounts a part of the tree as if it were the whole; the process's group is still named in full."""
    mounts = "".join(
        f"3{number} 31 0:3{number} /docker/abc /sys/fs/cgroup/{name} ro - cgroup cgroup rw,{name}\n"
        for number, name in enumerate(("cpu,cpuacct", "memory"))
    )
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n",
            "proc/self/mountinfo": mounts,
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "40000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000000000\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "1500000000\n",
            "sys/fs/cgroup/memory/memory.max_usage_in_bytes": "1900000000\n",
            "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 500000000\n",
            "sys/fs/cgroup/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
            "sys/fs/cgroup/memory/memory.failcnt": "17\n",
        },
    )
    assert machine.cores(root) == 1
    assert machine.memory_events(root) == MemoryEvents(kills=1, refusals=17)
    found = machine.memory(root)
    assert (found.limit, found.used, found.peak, found.room) == (2 * GB, GB, 1_900_000_000, GB)


def test_the_tightest_limit_of_all_groups_around_a_process_counts(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/kubepods/pod1"
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/kubepods/pod1/main\n",
            "proc/self/mountinfo": V2.format(top="/"),
            f"{group}/main/cpu.max": "max 100000\n",
            f"{group}/main/memory.max": "max\n",
            f"{group}/cpu.max": "100000 100000\n",
            f"{group}/memory.max": "8000000000\n",
            f"{group}/memory.current": "1000000000\n",
            f"{group}/memory.events": "oom 2\noom_kill 5\n",
            f"{group}/main/memory.events": "oom 0\noom_kill 1\n",
            "sys/fs/cgroup/kubepods/memory.max": "64000000000\n",
        },
    )
    assert machine.cores(root) == 1
    assert (machine.memory(root).limit, machine.memory(root).room) == (8 * GB, 7 * GB)
    assert machine.memory_events(root) == MemoryEvents(kills=1, refusals=2), "of all kills those in the own group"


@pytest.mark.parametrize(
    "files",
    [
        {},
        {
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": V2.format(top="/"),
            "sys/fs/cgroup/cpu.max": "max 100000\n",
            "sys/fs/cgroup/memory.max": "max\n",
        },
        {
            "proc/self/cgroup": "2:cpu:/\n1:memory:/user\n",
            "proc/self/mountinfo": "1 1 0:1 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
            "2 1 0:2 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    ],
    ids=["no groups", "version 2", "version 1"],
)
def test_without_a_limit_the_machine_counts(tmp_path: Path, files: dict[str, str]) -> None:
    root = write(tmp_path, files)
    assert machine.cores(root) == len(os.sched_getaffinity(0))
    found = machine.memory(root)
    assert (found.limit, found.most, found.room) == (None, 100 * GB, 50 * GB)
    assert machine.memory_kills(root) is None
    assert machine.memory_events(root) == MemoryEvents(kills=None, refusals=None)


def test_a_process_bound_to_one_core_has_one() -> None:
    code = "import os; from sightline.runtime import machine; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    done = subprocess.run(
        [sys.executable, "-c", code + "print(machine.cores())"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"


@pytest.fixture
def groups() -> Iterator[dict[str, Path]]:
    """A real control group (version 1) for CPU time and one for memory."""
    name = f"sightline-test-{uuid.uuid4().hex[:8]}"
    made = {kind: V1 / kind / name for kind in ("cpu", "memory")}
    try:
        for folder in made.values():
            if not (folder.parent / "cgroup.procs").exists():
                pytest.skip("needs cgroup version 1")
            folder.mkdir()
    except OSError as error:
        pytest.skip(f"needs the right to make control groups: {error}")
    yield made
    for folder in made.values():
        with contextlib.suppress(OSError):
            folder.rmdir()


def test_real_limits_are_seen_by_the_process_that_they_bind(groups: dict[str, Path]) -> None:
    (groups["cpu"] / "cpu.cfs_quota_us").write_text("50000")
    (groups["memory"] / "memory.limit_in_bytes").write_text(str(1 << 30))
    enter = " ".join(f"echo $$ > {folder}/cgroup.procs;" for folder in groups.values())
    code = (
        "from sightline.runtime import machine; print(machine.cores(), machine.memory().limit, machine.memory().room)"
    )
    done = subprocess.run(
        ["sh", "-c", f'{enter} exec "$0" -c "$1"', sys.executable, code], capture_output=True, text=True, check=True
    )
    cores, limit, room = map(int, done.stdout.split())
    assert (cores, limit) == (1, 1 << 30)
    assert 0.9 * (1 << 30) < room < 1 << 30


LIBRARIES = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from sightline.runtime import machine
machine.limit_threads()
import cv2
from sightline.detect import Detector
cv2.setNumThreads(8)  # as OpenCV does where it does not know a container's quota
detector = Detector(sys.argv[1], device="cpu")
from sightline import ultralytics_env
from sightline.runtime import provenance
from sightline.storage import transfers
ultralytics_env.prepare()
from ultralytics.utils import NUM_THREADS
print(detector.session.get_session_options().intra_op_num_threads, cv2.getNumThreads(), os.cpu_count(), NUM_THREADS,
      os.environ["OPENBLAS_NUM_THREADS"], transfers(), provenance.hardware().cpu_count)
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs a core that it may not use")
def test_every_library_is_held_to_the_cores_that_there_are(tmp_path: Path) -> None:
    """ONNX Runtime, OpenCV, the engine's count (loaders, torch), numpy, transfers, and what is reported."""
    values = {
        **{"schema_version": 1, "architecture": "none", "classes": ["a"], "image_size": 32, "stride": 32},
        **{"head": "anchors", "confidence": 0.5, "iou": 0.7, "max_det": 1},
    }
    shape = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 5, 1])
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 5, 1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "none", [shape], [output])
    model = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 18)])
    onnx.helper.set_model_props(model, {"sightline": json.dumps(values)})
    onnx.save(model, tmp_path / "model.onnx")
    done = subprocess.run(
        [sys.executable, "-c", LIBRARIES, tmp_path / "model.onnx"], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "1", "1", "1", "1", "4", "1"]
