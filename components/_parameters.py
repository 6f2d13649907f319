"""The pipeline's parameters by name, in the two places where KFP reads names: a form, and the source of a component.

Both are written with `**parameters`; the names, types, defaults and descriptions are those of `PipelineParameters`.
"""

import functools
import inspect
import linecache
from collections.abc import Callable
from typing import Any

from google.protobuf.struct_pb2 import Value
from kfp.dsl.base_component import BaseComponent

from sightline.config.parameters import PipelineParameters, choices

FIELDS = PipelineParameters.model_fields
LINES = {  # of a component, and what stands for each of them, once for every parameter
    "    **parameters: Any,\n": "    {name}: str,\n",
    "        **parameters: Those of the pipeline.\n": "        {name}: {meaning}\n",
    "        **parameters,\n": "        {name}={name},\n",
}


def form(pipeline: Callable[..., None]) -> Callable[..., None]:
    """Return a pipeline function whose signature and docstring list the parameters."""

    @functools.wraps(pipeline)
    def filled_in(*channels: Any) -> None:
        pipeline(**dict(zip(FIELDS, channels, strict=True)))

    meanings = "".join(f"    {name}: {field.description}\n" for name, field in FIELDS.items())
    filled_in.__doc__ = f"{inspect.getdoc(pipeline)}\n\nArgs:\n{meanings}"
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    filled_in.__signature__ = inspect.Signature(
        [inspect.Parameter(name, kind, default=field.default, annotation=str) for name, field in FIELDS.items()]
    )
    return filled_in


def offering_choices(pipeline: BaseComponent) -> BaseComponent:
    """Make drop-downs of the parameters that have few values: KFP's SDK refuses `Literal` in a signature."""
    parameters = pipeline.pipeline_spec.root.input_definitions.parameters
    for name, values in choices().items():
        parameters[name].literals.extend(Value(string_value=value) for value in values)
    return pipeline


def written_out(component: Callable[..., Any]) -> Callable[..., Any]:
    """Return a component function with every parameter in its signature, its docstring and its call.

    KFP copies the source of a component into the compiled pipeline, where it has to stand alone: so a new source is
    made and compiled, and put where `inspect.getsource` finds it.
    """
    source = inspect.getsource(component)
    source = source[source.index("def ") :]
    for line, each in LINES.items():
        assert source.count(line) == 1, f"{component.__name__} has no line {line!r}, or two"
        named = [each.format(name=name, meaning=field.description) for name, field in FIELDS.items()]
        source = source.replace(line, "".join(named))
    file = f"<{component.__module__}, written out>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace = dict(component.__globals__)
    exec(compile(source, file, "exec", dont_inherit=True), namespace)
    return namespace[component.__name__]
