"""Small pipelines of one task called train, each of which ends, or hangs, in one way; and an exit task behind it.

KFP reads annotations itself: this module cannot have them as texts.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler, dsl, kubernetes

ROOT = Path(__file__).parents[2]
Change = Callable[[dsl.PipelineTask], object]
GROW = "python3 -c \"b = bytearray(400 << 20); b[::4096] = b'x' * len(b[::4096]); print(len(b))\""
MAP = (
    "python3 -c \"import mmap; f = open('/dev/shm/x', 'w+b'); f.truncate(64 << 20); "
    'm = mmap.mmap(f.fileno(), 0); [m.__setitem__(i, 1) for i in range(0, 64 << 20, 4096)]"'
)
FILL = "head -c 60000000 /dev/zero > /tmp/x; sleep 600"
SLEEP = "sleep 600"


def objects(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a manifest."""
    yield from yaml.safe_load_all((ROOT / path).read_text())


def shell(name: str, image: str, command: str) -> Any:
    """Return a component that runs a command in a shell."""

    def step() -> dsl.ContainerSpec:
        return dsl.ContainerSpec(image=image, command=["sh", "-c"], args=[command])

    step.__name__ = name
    return dsl.container_component(step)


def write(
    folder: Path,
    image: str,
    command: str = SLEEP,
    *changes: Change,
    task: str = "train",
    of: str | None = None,
    deadline: int | None = None,
    broken: bool = False,
    as_root: bool = False,
) -> Path:
    """Compile a pipeline; `of` is the task's image where that is another one, `broken` makes its driver fail.

    With `as_root` it does not say that it needs no root, which Pod Security asks for.
    """

    @dsl.pipeline(
        name="sightline-ends",
        pipeline_config=dsl.PipelineConfig(ttl_seconds_after_finished=3600, active_deadline_seconds=deadline),
    )
    def ends(gpus: str = "0") -> None:
        last = shell("conclude", image, "true")()
        last.set_caching_options(False)
        kubernetes.set_security_context(last, run_as_non_root=True)
        with dsl.ExitHandler(last):
            step = shell(task, of or image, command)()
            step.set_caching_options(False)
            step.set_cpu_request("10m").set_memory_request("20Mi")
            if not as_root:
                kubernetes.set_security_context(step, run_as_non_root=True)
            for change in changes:
                change(step)
            if broken:  # inside a group a parameter that only a setter uses is not known
                step.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(gpus)

    path = folder / f"{task}.yaml"
    compiler.Compiler().compile(ends, str(path))
    return path


def memory(limit: str) -> Change:
    """Limit the task's memory."""
    return lambda step: step.set_memory_limit(limit)


def gpus(count: int, kind: str = "nvidia.com/gpu") -> Change:
    """Ask for GPUs."""
    return lambda step: step.set_accelerator_type(kind).set_accelerator_limit(count)


def selector(label: str, value: str) -> Change:
    """Ask for a node with a label."""
    return lambda step: kubernetes.add_node_selector(step, label, value)


def secret(name: str, key: str) -> Change:
    """Take an environment variable from a Secret that has to be there."""
    return lambda step: kubernetes.use_secret_as_env(step, name, {key: "WORD"}, optional=False)


def config_map(name: str, key: str) -> Change:
    """Take an environment variable from a ConfigMap that has to be there."""
    return lambda step: kubernetes.use_config_map_as_env(step, name, {key: "WORD"}, optional=False)


def volume(path: str, limit: str, *, name: str = "tmp", medium: str = "") -> Change:
    """Mount an emptyDir."""
    return lambda step: kubernetes.empty_dir_mount(step, name, path, medium=medium or None, size_limit=limit)


def timeout(seconds: int) -> Change:
    """Limit an attempt."""
    return lambda step: kubernetes.set_timeout(step, seconds)


def label(name: str, value: str) -> Change:
    """Label the pod."""
    return lambda step: kubernetes.add_pod_label(step, name, value)


def retries(count: int) -> Change:
    """Repeat the task where the server lets it."""
    return lambda step: step.set_retry(count, "1s", 2.0, "3600s")
