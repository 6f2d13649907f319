"""The one environment in which the templates of all pages are rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sightline.documents import decimals
from sightline.pages.formatting import counted, duration, score, size

if TYPE_CHECKING:
    from jinja2 import Environment


def environment() -> Environment:
    """Return an environment that escapes untrusted text and fails on an undefined name."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("sightline.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(counted=counted, decimals=decimals, duration=duration, score=score, size=size)
    return templates
