"""The one strict YAML reader: safe-loaded, and no guess where a text says two things or is read in two ways.

A module of its own below `policy`: the configuration holds a policy, so a reader inside the package `config` could not
be imported by `policy` without a circle.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

NUMBER = re.compile(r"\d{1,9}")
# What PyYAML raises, besides its own errors, for values such as !!int '' and for escapes such as \UFFFFFFFF.
MISTAGGED = (TypeError, AttributeError, LookupError, OverflowError)


class _Values(yaml.SafeLoader):
    """YAML without what makes a small text a large value (aliases) and without keys that are given twice.

    Numbers are those that everybody reads alike: 1:30, which YAML 1.1 takes for 90, and 010, for 8, stay text, as does
    a date; 1e-3 is a number.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML declares it
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":int", ":float", ":timestamp"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases (*) are not taken", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        _refuse_twice(node)
        return super().construct_mapping(node, deep)


_Values.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$"), list("-+0123456789")
)
_Values.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"[-+]?((0|[1-9][0-9_]*)(\.[0-9_]*([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)|\.[0-9]+([eE][-+]?[0-9]+)?"
        r"|\.(inf|Inf|INF))$|\.(nan|NaN|NAN)$"
    ),
    list("-+0123456789."),
)


class _Texts(yaml.BaseLoader):
    """YAML without keys that are given twice for different values; other tools write some of them twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        _refuse_twice(node, unless_equal=True)
        return super().construct_mapping(node, deep)


def _refuse_twice(node: yaml.MappingNode, *, unless_equal: bool = False) -> None:
    """Raise MarkedYAMLError for a key that a mapping has twice; 1 and 01 are the same one."""
    seen: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
            continue
        name = str(int(key.value)) if NUMBER.fullmatch(key.value) else key.value
        before = seen.setdefault(name, value)
        equal = unless_equal and isinstance(value, yaml.ScalarNode) and value.value == before.value
        if before is not value and not equal:
            problem = f"'{name}' is given twice{', for different values' if unless_equal else ''}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)


def parse(text: str | bytes) -> Any:
    """Return the value of a YAML text. Raises ValueError, which says in a line what is wrong."""
    value = _load(text, _Values)
    try:
        repr(value)  # a number of too many digits cannot be shown in any message
    except ValueError as problem:
        raise ValueError(_one_line(problem)) from None
    return value


def parse_texts(text: str | bytes) -> Any:
    """Return a YAML text with every scalar as the text that was typed: a class called `no` stays `no`.

    Aliases are followed, as other tools write them. Raises ValueError, which says in a line what is wrong.
    """
    return _load(text, _Texts)


def _load(text: str | bytes, loader: type[_Values | _Texts]) -> Any:
    try:
        return yaml.load(text, loader)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark or problem.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{where}{problem.problem or problem.context}") from None
    except MISTAGGED:
        raise ValueError("a value does not fit its tag (!!), or its escape (\\U) is no character") from None
    except (yaml.YAMLError, ValueError) as problem:
        raise ValueError(_one_line(problem)) from None


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())
