"""The one strict YAML reader: safe loading, and errors for duplicate keys and other ambiguous input.

It stands apart from the package `config` because `config` imports `policy`, and `policy` needs this reader too.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

NUMBER = re.compile(r"\d{1,9}")
# What PyYAML raises, besides its own errors, for values such as !!int '' and escapes such as \UFFFFFFFF.
MISTAGGED = (TypeError, AttributeError, LookupError, OverflowError)


class _Values(yaml.SafeLoader):
    """YAML without duplicate keys, and without aliases, by which a small text could become a huge value.

    Only unambiguous numbers are numbers: 1:30 (90 in YAML 1.1), 010 (8 in YAML 1.1) and dates stay text; 1e-3 is a
    number.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML declares it
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":int", ":float", ":timestamp"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases (*) are not allowed", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        _refuse_duplicate_keys(node)
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
    """YAML without duplicate keys of different values; other tools repeat some keys with the same value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        _refuse_duplicate_keys(node, unless_equal=True)
        return super().construct_mapping(node, deep)


def _refuse_duplicate_keys(node: yaml.MappingNode, *, unless_equal: bool = False) -> None:
    """Raise MarkedYAMLError for a duplicate key in a mapping; 1 and 01 are the same key."""
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
    """Return the value of a YAML text. Raises ValueError with a message of one line."""
    value = _load(text, _Values)
    try:
        repr(value)  # raises for a number of too many digits, which no message could show
    except ValueError as problem:
        raise ValueError(_one_line(problem)) from None
    return value


def parse_texts(text: str | bytes) -> Any:
    """Return the value of a YAML text with every scalar as text: a class called `no` stays `no`.

    Aliases are allowed because other tools write them. Raises ValueError with a message of one line.
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
