"""Describes in words which values a field of a pydantic model allows, for messages of the form `got X, expected …`."""

from __future__ import annotations

import reprlib
from typing import Any

from pydantic import BaseModel

LIMITS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
KINDS = {
    **{"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"},
    "object": "names with values",
}


def describe(model: type[BaseModel], name: str) -> str:
    """Return which values a field allows, such as `a whole number, at least 1 and at most 64`.

    `name` is the name of the field, or its alias. The limits come from the model's JSON Schema.
    """
    schema = model.model_json_schema()["properties"][name]
    if "expected" in schema:
        return str(schema["expected"])
    schema = schema.get("anyOf", [schema])[0]
    if "enum" in schema:
        *others, last = map(str, schema["enum"])
        return f"{', '.join(others)} or {last}"
    kind = KINDS[schema["type"]]
    if "multipleOf" in schema:
        kind = f"a multiple of {schema['multipleOf']}"
    if schema.get("minLength"):
        kind = f"{kind} that is not empty"
    limits = [f"{limit} {_plain(schema[key])}" for key, limit in LIMITS.items() if key in schema]
    return ", ".join([kind, " and ".join(limits)] if limits else [kind])


def shown(value: Any) -> str:
    """Return a value as YAML writes it; a long one is shortened."""
    special = {"None": "null", "True": "'on'", "False": "'off'"}
    return special.get(repr(value)) or reprlib.repr(value)


def _plain(number: float) -> str:
    """Return a limit as text; a whole number without an exponent or a decimal point."""
    return str(int(number)) if number == int(number) else f"{number:g}"
