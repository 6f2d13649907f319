"""The data report as a page: what is wrong with a source and what it looks like, in one self-contained HTML file."""

from __future__ import annotations

from sightline import __version__
from sightline.documents import DataDocument
from sightline.pages.data_content import Pictures, context
from sightline.pages.environment import environment
from sightline.pages.thumbnails import Outline, Picture

__all__ = ["Outline", "Picture", "Pictures", "render"]


def render(document: DataDocument, pictures: Pictures) -> str:
    """Return the page. `pictures` finds an image by its name in the source (`Example.image`), None if it is gone."""
    template = environment().get_template("data.html.j2")
    return template.render(version=__version__, document=document, **context(document, pictures))
