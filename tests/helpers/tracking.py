"""The question that validate asks of the tracking server."""

from __future__ import annotations

from sightline.config import RegisterConfig
from sightline.tracking import check


def ask(uri: str, **config: str) -> list[str]:
    with check.asking(uri, RegisterConfig.model_validate(config)) as asked:
        return asked.problems()
