"""A stage imports nothing that its image lacks, whichever of its functions is called."""

from __future__ import annotations

import grimp
import pytest

from images.smoke import STAGES
from tests.helpers.built_images import BuiltImages

# What only an embedded database needs: containers reach it through a server.
EMBEDDED = {"sqlalchemy", "alembic"}
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


def needed(graph: grimp.ImportGraph, stage: str) -> set[str]:
    """Return all modules that a stage can come to import, also inside functions, and the packages they name."""
    own = {f"sightline.{stage}", *graph.find_descendants(f"sightline.{stage}"), "sightline.cli.stages"}
    own |= {"sightline.runtime.stage_frame"}
    found = set(own)
    for module in own - {"sightline.cli.stages"}:
        found |= graph.find_upstream_modules(module)
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_all_that_a_stage_imports_is_in_its_image(
    built_images: BuiltImages, graph: grimp.ImportGraph, stage: str
) -> None:
    image = STAGES[stage][0]
    names = needed(graph, stage) | MORE[image] | {EXECUTOR, "sightline.tasks"}
    assert len(names) > 100
    failed = built_images.python(image, IMPORT.format(names=sorted(names)))
    assert {name: why for name, why in failed.items() if not (image == "data" and name in EMBEDDED)} == {}
