"""The data report as a page: what is wrong with a source and what it looks like, in one self-contained HTML file."""

from __future__ import annotations

from sightline import __version__
from sightline.artifacts import DataDocument
from sightline.validate.page.content import Pictures, context
from sightline.validate.page.thumbnails import Outline, Picture

__all__ = ["Outline", "Picture", "Pictures", "render"]


def render(document: DataDocument, pictures: Pictures) -> str:
    """Return the page. `pictures` finds an image by its name in the source (`Example.image`), None if it is gone."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("sightline", ""),  # the look is that of the run's page, whose style sheet is included
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("validate/page/templates/data.html.j2")
    return template.render(version=__version__, document=document, **context(document, pictures))
