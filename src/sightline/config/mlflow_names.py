"""What MLflow takes as a name, checked by its own rules before a run starts (mlflow/utils/validation.py, 3.17).

The lengths are those of its database columns, which PostgreSQL keeps to and SQLite does not.
"""

from __future__ import annotations

import re

NAME_LENGTH, ALIAS_LENGTH = 256, 255


def model_name(value: str) -> str:
    """Return the name of a registered model. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value) or len(value) > NAME_LENGTH:
        raise ValueError(
            f"got {_short(value)}, expected at most {NAME_LENGTH} letters, digits, '.', '_' and '-', beginning with a "
            "letter or digit"
        )
    return value


def alias(value: str) -> str:
    """Return the alias of a model version. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", value) or len(value) > ALIAS_LENGTH:
        raise ValueError(
            f"got {_short(value)}, expected at most {ALIAS_LENGTH} letters, digits, '_' and '-', the first of them a "
            "letter"
        )
    if re.fullmatch(r"latest|v\d+", value, re.IGNORECASE):
        raise ValueError(f"got {value!r}, which MLflow reserves, as it does latest, v1, v2 …; expected another")
    return value


def experiment(value: str) -> str:
    """Return the name of an experiment. Raises ValueError."""
    if not value.strip() or len(value) > NAME_LENGTH or not value.isprintable():
        raise ValueError(
            f"got {_short(value)}, expected 1 to {NAME_LENGTH} characters that can be printed, not only spaces"
        )
    return value


def _short(value: str) -> str:
    """Show a text, a long one by its beginning and its length."""
    return repr(value) if len(value) <= 80 else f"{value[:40]!r}… of {len(value)} characters"
