"""A stage or task imports nothing that its image lacks, whichever of its functions is called."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import grimp
import pytest

from images.smoke import STAGES
from sightline import tasks
from sightline.orchestrate.container_settings import executors
from sightline.orchestrate.images import REFERENCE, pipeline_file
from tests.helpers.built_images import BuiltImages

TASKS = executors(pipeline_file().read_text(encoding="utf-8"))

# What only an embedded database needs: containers reach it through a server.
EMBEDDED, CLIENTS = {"sqlalchemy", "alembic"}, ("data", "train")
# Beside what the modules name: what MLflow, the engine and KFP load when a stage runs.
MORE = {"data": {"mlflow.onnx", "mlflow.artifacts"}, "train": {"torch.distributed.run"}, "infer": set()}
EXECUTOR = "kfp.dsl.executor_main"
IMPORT = """
import importlib, json, os, sys
os.environ["_KFP_RUNTIME"] = "true"
answer, sys.stdout = sys.stdout, sys.stderr  # some packages greet
failed = {{}}
for name in {names!r}:
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = repr(error)
print(json.dumps(failed), file=answer)
"""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("sightline", include_external_packages=True)


def all_below(graph: grimp.ImportGraph, modules: Iterable[str]) -> set[str]:
    """Return all modules that these can come to import, also inside functions, and the packages they name."""
    own = {found for module in modules for found in (module, *graph.find_descendants(module))}
    return own.union(*(graph.find_upstream_modules(module) for module in own))


def imported(statements: Iterable[ast.stmt]) -> set[str]:
    """Return the modules of Sightline that statements import, also inside them."""
    nodes = [node for statement in statements for node in ast.walk(statement) if isinstance(node, ast.ImportFrom)]
    named = {f"{node.module}.{alias.name}" for node in nodes for alias in node.names if node.module == "sightline"}
    return named | {node.module for node in nodes if node.module and node.module.startswith("sightline.")}


def check(built_images: BuiltImages, image: str, names: set[str]) -> None:
    failed = built_images.python(image, IMPORT.format(names=sorted(names | {EXECUTOR, "sightline.tasks"})))
    assert {name: why for name, why in failed.items() if not (image in CLIENTS and name in EMBEDDED)} == {}


@pytest.mark.parametrize("stage", STAGES)
def test_all_that_a_stage_imports_is_in_its_image(
    built_images: BuiltImages, graph: grimp.ImportGraph, stage: str
) -> None:
    image = STAGES[stage][0]
    names = all_below(graph, [f"sightline.{stage}", "sightline.runtime.stage_frame"])
    assert len(names) > 100
    check(built_images, image, names | MORE[image] | {"sightline.cli.stages"})


@pytest.mark.parametrize("task", TASKS)
def test_all_that_a_task_imports_is_in_its_image(
    built_images: BuiltImages, graph: grimp.ImportGraph, task: str
) -> None:
    lines = ast.parse(Path(tasks.__file__).read_text(encoding="utf-8")).body
    functions = {line.name: line for line in lines if isinstance(line, ast.FunctionDef)}
    always = [line for line in lines if isinstance(line, ast.ImportFrom)]
    names = all_below(graph, imported([*always, functions[task]]))
    assert len(names) > 50
    image = REFERENCE.fullmatch(TASKS[task].image)
    assert image
    check(built_images, image["name"], names)
