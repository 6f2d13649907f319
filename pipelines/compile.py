"""Writes what is derived from the code, or checks that the committed files are what the code says.

python -m pipelines.compile            write pipelines/compiled/*.yaml, components/README.md, the table of rules
python -m pipelines.compile --check    fail if a committed file differs
"""

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import docstring_parser
import yaml
from kfp import compiler

from components._parameters import offer_choices
from pipelines.train import sightline_train
from sightline.policy import BASES, Policy
from sightline.rules import RULES

ROOT = Path(__file__).parents[1]
PIPELINES = {"pipelines/compiled/train.yaml": sightline_train}
RULES_PAGE = "src/sightline/validate/README.md"
STARTS_PYTHON = "_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main"
BEGIN, END = "<!-- rules: rendered by `make compile` -->\n", "<!-- end of rules -->\n"
HEADING = """# Components

One file per stage: a signature, a docstring and one call. This page is rendered from the docstrings by `make compile`.
"""


def derived() -> dict[str, str]:
    """Return the text of every derived file by its path in the repository."""
    texts = {}
    with tempfile.TemporaryDirectory() as folder:
        for path, pipeline in PIPELINES.items():
            target = Path(folder) / "pipeline.yaml"
            offer_choices(pipeline)
            compiler.Compiler().compile(pipeline, str(target))
            texts[path] = stoppable(target.read_text(encoding="utf-8"))
    specs = [next(yaml.safe_load_all(text)) for text in texts.values()]
    texts["components/README.md"] = HEADING + "".join(interface(*item) for spec in specs for item in interfaces(spec))
    before, _, rest = (ROOT / RULES_PAGE).read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    texts[RULES_PAGE] = before + BEGIN + rules() + END + after
    return texts


def stoppable(pipeline: str) -> str:
    """Let Python take the place of the shell that starts it.

    KFP starts a task by `sh -ec '… python3 …'`. Where that shell is a container's first process, as in Docker, the
    kernel keeps SIGTERM from it, and Python hears of the end only by being killed.
    """
    assert STARTS_PYTHON in pipeline, f"KFP starts a task in another way than by {STARTS_PYTHON!r}"
    return pipeline.replace(STARTS_PYTHON, STARTS_PYTHON.replace("python3", "exec python3"))


def rules() -> str:
    """Render the rules of the data gate: a row for each, with its severity in every policy."""
    policies = [Policy(base=base) for base in BASES]
    rows = []
    for rule in RULES.values():
        severities = []
        for policy in policies:
            setting = policy.setting(rule.id)
            severities.append(setting.severity + (f" > {setting.max_fraction:.0%}" if setting.max_fraction else ""))
        rows.append(f"| `{rule.id}` | {' | '.join(severities)} | {rule.finds} | {rule.handled} |\n")
    return f"\n| rule | {' | '.join(BASES)} | finds | as a warning |\n|---|{'---|' * len(BASES)}---|---|\n" + "".join(
        rows
    )


def interfaces(spec: dict[str, Any]) -> list[tuple[str, dict[str, Any], str]]:
    """Return name, interface and image of every component in a pipeline, by name."""
    executors = spec["deploymentSpec"]["executors"]
    return [
        (name.removeprefix("comp-"), component, executors[component["executorLabel"]]["container"]["image"])
        for name, component in sorted(spec["components"].items())
        if "executorLabel" in component
    ]


def interface(name: str, component: dict[str, Any], image: str) -> str:
    """Render one component: what it does, where it runs, and a row for each input and output."""
    function = getattr(importlib.import_module(f"components.{name}"), name).python_func
    docstring = docstring_parser.parse(function.__doc__)  # KFP's own parser; the spec keeps only part of it
    meaning = {item.arg_name: item.description for item in docstring.params}
    rows = []
    for direction in ("input", "output"):
        definitions = component.get(f"{direction}Definitions", {})
        for kind in ("parameters", "artifacts"):
            for key, value in definitions.get(kind, {}).items():
                type_name = value.get("parameterType") or value["artifactType"]["schemaTitle"]
                text = value.get("description") or meaning.get(key, "")
                rows.append(f"| {direction} | `{key}` | {type_name} | {text} |\n")
    table = "| | name | type | meaning |\n|---|---|---|---|\n" + "".join(rows)
    return f"\n## {name}\n\n{docstring.short_description}\n\nImage `{image}`.\n\n{table}"


def main(arguments: list[str]) -> int:
    """Write, or with --check compare; returns the exit code."""
    texts = derived()
    if arguments == ["--check"]:
        stale = [path for path, text in texts.items() if (ROOT / path).read_text(encoding="utf-8") != text]
        for path in stale:
            print(f"{path} differs from what the code says; run `make compile` and commit it.")
        return min(1, len(stale))
    for path, text in texts.items():
        (ROOT / path).write_text(text, encoding="utf-8")
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
