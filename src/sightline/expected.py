"""What a value can be, said as the field of a model declares it, for messages of the form `got X, expected …`."""

from __future__ import annotations

import reprlib
from typing import Any

from pydantic import BaseModel

LIMITS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
KINDS = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"}


def words(model: type[BaseModel], name: str) -> str:
    """Say what the field under this name or alias can be: `a whole number, at least 1 and at most 64`."""
    schema = model.model_json_schema()["properties"][name]
    schema = schema.get("anyOf", [schema])[0]
    if "enum" in schema:
        *others, last = map(str, schema["enum"])
        return f"{', '.join(others)} or {last}"
    kind = KINDS[schema["type"]]
    if "multipleOf" in schema:
        kind = f"a multiple of {schema['multipleOf']}"
    if schema.get("minLength"):
        kind = f"{kind} that is not empty"
    limits = [f"{words} {_plain(schema[key])}" for key, words in LIMITS.items() if key in schema]
    return ", ".join([kind, " and ".join(limits)] if limits else [kind])


def shown(value: Any) -> str:
    """Show a value as it is written in YAML, a long one shortened."""
    words = {"None": "null", "True": "'on'", "False": "'off'"}
    return words.get(repr(value)) or reprlib.repr(value)


def _plain(number: float) -> str:
    """Write a limit in full where it is a whole number."""
    return str(int(number)) if number == int(number) else f"{number:g}"
