"""Writes what is derived from the code, or checks that the committed files are what the code says.

python -m pipelines.compile            write pipelines/compiled/*.yaml, components/README.md, the tables of rules, of
                                       settings, of the engine's own settings and networks
python -m pipelines.compile --check    fail if a committed file differs
python -m pipelines.compile --shm 8Gi  with options of your own: write build/train.yaml, and leave the others alone
python -m pipelines.compile --digests  the same with the images at hand: what one uploads in the dashboard
"""

import importlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import docstring_parser
import typer
import yaml
from kfp import compiler

from pipelines import engine, engine_table, options, options_page
from pipelines.options import Options
from pipelines.train import sightline_train
from sightline.config import engine_settings
from sightline.config.parameters import PipelineParameters
from sightline.errors import SightlineError
from sightline.orchestrate import images, registry
from sightline.policy import BASES, Policy
from sightline.rules import RULES

ROOT = Path(__file__).parents[1]
COMMITTED, OURS = "pipelines/compiled/train.yaml", "build/train.yaml"
RULES_PAGE, SETTINGS_PAGE = "src/sightline/validate/README.md", "src/sightline/config/README.md"
ENGINE_TABLE = "src/sightline/config/engine_table.json"
STARTS_PYTHON = "_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main"
BEGIN, END = "<!-- rules: rendered by `make compile` -->\n", "<!-- end of rules -->\n"
HEADING = """# Components

One file per task: a signature, a docstring and one call. This page is rendered from the docstrings by `make compile`.

## The form

What a person fills in to start a run, on the dashboard (by alphabet) or with `sightline submit --param name=value`.
`preset` leaves a value to the preset; an emptied field is the default.

| name | default | meaning |
|---|---|---|
"""


def compiled(options: Options) -> str:
    """Return the compiled pipeline."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "pipeline.yaml"
        compiler.Compiler().compile(sightline_train(options), str(target))
        return stoppable(target.read_text(encoding="utf-8"))


def ours(options: Options, *, digests: bool) -> str:
    """Return the pipeline compiled with options, with `digests` as `sightline submit` sends it.

    Raises ConfigError if the images at hand were never pushed, or are not those of the sources.
    """
    references = registry.references() if digests else {}
    return images.with_references(compiled(options), references)


def derived() -> dict[str, str]:
    """Return the text of every derived file by its path in the repository."""
    texts = {COMMITTED: compiled(Options())}
    spec = next(yaml.safe_load_all(texts[COMMITTED]))
    texts["components/README.md"] = HEADING + form() + "".join(interface(*item) for item in interfaces(spec))
    texts[RULES_PAGE] = _between(RULES_PAGE, BEGIN, rules(), END)
    texts[ENGINE_TABLE] = engine_table.text()
    tables = options_page.rendered(engine_settings.parse(texts[ENGINE_TABLE]))
    texts[SETTINGS_PAGE] = _between(SETTINGS_PAGE, options_page.BEGIN, tables, options_page.END)
    return texts | engine.files((ROOT / engine.PAGE).read_text(encoding="utf-8"))


def _between(page: str, begin: str, text: str, end: str) -> str:
    """Return a page of the repository with a text between two marks."""
    before, _, rest = (ROOT / page).read_text(encoding="utf-8").partition(begin)
    return before + begin + text + end + rest.partition(end)[2]


def form() -> str:
    """Render the form: a row for each parameter, by alphabet."""
    fields = sorted(PipelineParameters.model_fields.items())
    return "".join(f"| `{name}` | `{field.default}` | {field.description} |\n" for name, field in fields)


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


def _read(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a parser whose mistakes are those of an option."""

    def read(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as problem:
            raise typer.BadParameter(f"{problem}.") from None

    return read


def _option(parse: Callable[[str], Any], example: str, words: str) -> Any:
    return typer.Option(parser=_read(parse), metavar=f"<{example}>", help=words)


def main(
    check: Annotated[bool, typer.Option("--check", help="Compare with what is committed; write nothing.")] = False,
    shm: Annotated[int | None, _option(options.size, "8Gi", "Shared memory for training.")] = None,
    cache_claim: Annotated[
        str | None, _option(options.object_name, "claim", "Claim that all nodes can write, for the cache of all runs.")
    ] = None,
    owner: Annotated[str | None, _option(options.label, "team", "Label of every pod.")] = None,
    queue: Annotated[str | None, _option(options.object_name, "queue", "Queue of Kueue for training.")] = None,
    pull_secret: Annotated[
        str | None, _option(options.object_name, "secret", "Secret with which images are fetched.")
    ] = None,
    train_timeout: Annotated[
        int | None, _option(options.duration, "3d", "Longest training; each repetition has as long.")
    ] = None,
    train_retries: Annotated[
        int | None, _option(options.retries, "3", "Repetitions of a training that lost its pod.")
    ] = None,
    ttl: Annotated[int | None, _option(options.duration, "1d", "Time for which pods are kept after a run.")] = None,
    deadline: Annotated[
        int | None, _option(options.duration, "12h", "Time after which a run is ended; schedules need one.")
    ] = None,
    digests: Annotated[
        bool, typer.Option("--digests", help="Name the pushed images of the last build, or those of SIGHTLINE_IMAGES.")
    ] = False,
) -> None:
    """Write what is derived from the code, or with options of your own the pipeline alone, to build/train.yaml."""
    named = {
        **{"shm": shm, "cache_claim": cache_claim, "owner": owner, "queue": queue, "pull_secret": pull_secret},
        **{"train_timeout": train_timeout, "train_retries": train_retries, "ttl": ttl, "deadline": deadline},
    }
    wanted = {name: value for name, value in named.items() if value is not None}
    if check:
        stale = [path for path, text in derived().items() if (ROOT / path).read_text(encoding="utf-8") != text]
        for path in stale:
            print(f"{path} differs from what the code says; run `make compile` and commit it.")
        raise typer.Exit(min(1, len(stale)))
    own = bool(wanted) or digests
    try:
        texts = {OURS: ours(Options(**wanted), digests=digests)} if own else derived()
    except SightlineError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    for path, text in texts.items():
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")
        print(f"wrote {path}")
    if not own and (ROOT / OURS).exists():  # `make submit` would send it
        (ROOT / OURS).unlink()
        print(f"removed {OURS}, which other options made")


if __name__ == "__main__":
    typer.run(main)
