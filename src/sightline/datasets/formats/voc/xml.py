"""A Pascal VOC annotation file: the objects of one image, as XML."""

from __future__ import annotations

from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from sightline.datasets.formats.files import FAR
from sightline.datasets.types import Box, Edges, Parsed
from sightline.rules import Issue

EDGES = ("xmin", "ymin", "xmax", "ymax")
LARGEST = 2**24  # bytes of an annotation file; 40 000 objects
LINE = "\0line"  # an attribute that no document can have


class _Parser(DefusedXMLParser):
    """Notes the line of each element."""

    def _start(self, tag: str, attr_list: list[str]) -> Element:
        element: Element = super()._start(tag, attr_list)  # type: ignore[misc]
        element.set(LINE, str(self.parser.CurrentLineNumber))
        return element


def parse(data: bytes, where: str, classes: list[str] | None, origin: int = 0) -> Parsed:
    """Read an annotation file. Boxes are edges in pixels from the upper left corner, labels are class names.

    With `origin` 0, xmin and xmax are edges. With 1, pixels are counted from 1, and xmin and xmax are the first and the
    last pixel of the box, as the VOC development kit has it: its left edge is xmin - 1.
    """
    if len(data) > LARGEST:
        message = f"is {len(data) >> 20} MiB large; expected an annotation file of at most {LARGEST >> 20} MiB"
        return Parsed(issues=(Issue("label-syntax", where, message),))
    parser = _Parser()
    try:
        parser.feed(data)
        root = parser.close()
    except ParseError as problem:
        return Parsed(issues=(Issue("label-syntax", f"{where}:{problem.position[0]}", f"is not XML: {problem}"),))
    except DefusedXmlException:
        message = "declares XML entities, which annotations do not need"
        return Parsed(issues=(Issue("label-syntax", f"{where}:1", message),))
    except (ValueError, LookupError) as problem:
        message = f"is in an encoding that cannot be read ({problem}); expected UTF-8"
        return Parsed(issues=(Issue("label-syntax", f"{where}:1", message),))
    if root.tag != "annotation":
        message = f"is XML of a <{root.tag[:60]}>; expected an <annotation>"
        return Parsed(issues=(Issue("label-syntax", f"{where}:{root.get(LINE)}", message),))
    boxes, issues, inverted = [], [], []
    for element in root:
        if element.tag != "object" and element.tag.lower() == "object":
            message = f"has an object in a <{element.tag}>; expected an <object>"
            issues.append(Issue("label-syntax", f"{where}:{element.get(LINE)}", message))
    for element in root.iter("object"):
        box = _box(element, where, origin)
        if isinstance(box, Box):
            boxes.append(box)
        else:
            issues.append(box)
            if (corners := element.find("bndbox")) is not None and (edges := _edges(corners)):
                inverted.append((int(element.get(LINE) or 0), edges))
    image = _text(root, "filename") or None
    return Parsed(tuple(boxes), _size(root), tuple(issues), image, inverted=tuple(inverted))


def _box(element: Element, where: str, origin: int) -> Box | Issue:
    line = int(element.get(LINE) or 0)
    place = f"{where}:{line}"
    name = _text(element, "name")
    if not name:
        return Issue("label-syntax", place, "an object without a name")
    corners = element.find("bndbox")
    if corners is None:
        other = next((task for tag, task in OTHERS.items() if element.find(tag) is not None), None)
        if other:
            return Issue("wrong-task", place, f"object '{name}' has {other} and no bndbox; expected a box")
    if len(element.findall("bndbox")) > 1:
        return Issue("label-syntax", place, f"object '{name}' has several bndbox; expected one")
    edges = None if corners is None else _edges(corners)
    if edges and edges[0] <= edges[2] and edges[1] <= edges[3]:
        x0, y0, x1, y1 = edges
        return Box(name, (x0 - origin, y0 - origin, x1, y1), line)
    texts = ["" if corners is None else _text(corners, edge) for edge in EDGES]
    got = ", ".join(f"{edge} '{text[:20]}'" for edge, text in zip(EDGES, texts, strict=True))
    wanted = "xmin <= xmax and ymin <= ymax" if edges else "four numbers in bndbox"
    return Issue("label-syntax", place, f"object '{name}' has {got}; expected {wanted}")


def _edges(corners: Element) -> Edges | None:
    """Return the four numbers of a bndbox."""
    try:
        x0, y0, x1, y1 = (float(_text(corners, edge)) for edge in EDGES)
    except ValueError:
        return None
    return (x0, y0, x1, y1) if all(-FAR < edge < FAR for edge in (x0, y0, x1, y1)) else None


OTHERS = {
    "robndbox": "an oriented box",
    "polygon": "a polygon",
    "segm": "a mask",
    "keypoints": "keypoints",
    "points": "points",
}


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _size(root: Element) -> tuple[int, int] | None:
    try:
        width, height = float(_text(root, "size/width")), float(_text(root, "size/height"))
        return (int(width), int(height)) if width > 0 and height > 0 else None
    except (ValueError, OverflowError):
        return None
