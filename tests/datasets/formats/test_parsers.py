"""Whatever bytes a source holds, parsers say what is wrong with them: they do not fail, hang or leave the source."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sightline.datasets import formats
from sightline.datasets.formats.voc import xml
from sightline.datasets.formats.yolo import label_file
from sightline.datasets.types import Folder, ImageRecord, Parsed
from sightline.errors import DataError
from sightline.rules import RULES, Issue

thorough = settings(max_examples=150, deadline=None)

PIECES = [b"0 ", b"0.5 ", b"nan ", b"1e999 ", b"-1 ", b"\n", b"\r\n", b"\xef\xbb\xbf", b"\0", b"1_0 ", b"\xff", b"3.0 "]
TAGS = [
    *(b"<annotation>", b"</annotation>", b"<object>", b"</object>", b"<name>cat</name>", b"<bndbox>", b"</bndbox>"),
    *(
        b"<xmin>1</xmin>",
        b"<ymin>nan</ymin>",
        b"<xmax>1e999</xmax>",
        b"<ymax>9</ymax>",
        b"&a;",
        b"&#0;",
        b"<!DOCTYPE a>",
    ),
    *(b'<?xml version="1.0" encoding="x"?>', b"<size><width>-1</width></size>", b"<filename>../a</filename>", b"\0"),
]
WORDS = [
    *(
        b"train: ",
        b"names: ",
        b"[a, b]\n",
        b"{0: a}\n",
        b"images/train\n",
        b"nc: 2\n",
        b"path: ../..\n",
        b"&a ",
        b"*a\n",
    ),
    *(b"- ", b"!!python/object:os.system ", b"? ", b": ", b"/etc/passwd\n", b"\0", b"\xff", b'"\\ud800"\n', b"..\n"),
]
KEYS = [
    *(
        b"train = ",
        b"valid = ",
        b"names = ",
        b"classes = 2\n",
        b"obj.names\n",
        b"list.txt\n",
        b"/etc/passwd\n",
        b"..\n",
    ),
    *(b"=\n", b"# x\n", b"\0\n", b"\xff\n", b"data/list.txt\n"),
]
NOTES = [
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b'"images"',
        b'"annotations"',
        b'"categories"',
        b'"id"',
        b'"bbox"',
        b"1",
        b"-0.0",
    ),
    *(
        b'"file_name"',
        b'"../a.png"',
        b"null",
        b"true",
        b"1e999",
        b"NaN",
        b'"\\ud800"',
        b"\xff",
        b'"image_id"',
        b"9" * 40,
    ),
]


def soup(pieces: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(pieces), max_size=40).map(b"".join))


def finite(least: float = -1e6, most: float = 1e6) -> st.SearchStrategy[float]:
    return st.floats(least, most, allow_nan=False)


@pytest.fixture(scope="module")
def source() -> Iterator[Path]:
    """A source whose description is to be written: one labelled image, and a secret beside the source."""
    with tempfile.TemporaryDirectory() as home:
        root = Path(home) / "source"
        (root / "images/train").mkdir(parents=True)
        (root / "labels/train").mkdir(parents=True)
        (root / "images/train/a.png").write_bytes(b"")
        (root / "labels/train/a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
        (Path(home) / "secret.png").write_bytes(b"")
        yield root


def consume(root: Path) -> list[ImageRecord | Issue]:
    """Read an untrusted source to its end; all that it yields lies inside it and can be written into a report."""
    folder = Folder(root, "source", None, root.resolve())
    reading = formats.read(folder)
    entries = list(reading.records())
    for found in (*reading.issues, *(entry for entry in entries if isinstance(entry, Issue))):
        assert found.rule in RULES
        json.dumps(found).encode()
        found.message.encode()
    for entry in entries:
        if isinstance(entry, ImageRecord):
            assert Path(entry.image).resolve().is_relative_to(root.resolve())
            assert entry.source.encode()
    for name in reading.classes or ():
        assert name.encode()
    return entries


def survives(root: Path, files: dict[str, bytes]) -> list[ImageRecord | Issue]:
    """Read the source with these files in it: all is well, or it is a DataError."""
    try:
        for name, data in files.items():
            (root / name).write_bytes(data)
        return consume(root)
    except DataError as error:
        refused = str(error)
    finally:
        for name in files:
            (root / name).unlink()
    assert refused.encode()  # can be printed
    return []


def checked(parsed: Parsed, where: str) -> None:
    for found in parsed.issues:
        assert found.rule in RULES
        assert found.where.startswith(where)
        assert found.message.encode()
    for box in parsed.boxes:
        x0, y0, x1, y1 = box.edges
        assert x0 <= x1
        assert y0 <= y1
        assert box.place > 0


# --- label files


@thorough
@given(soup(PIECES))
@example(b"0 1e308 1e308 1e308 1e308")
@example(b"9" * 5000 + b" 0 0 0 0")
def test_any_bytes_are_a_label_file_or_say_why_not(data):
    parsed = label_file.parse(data, "a.txt", ["cat", "dog"])
    checked(parsed, "a.txt")
    if b"\0" not in data:
        written = [line for line in data.removeprefix(b"\xef\xbb\xbf").splitlines() if line.split()]
        assert len(parsed.boxes) + len(parsed.issues) == len(written)


@thorough
@given(st.lists(st.tuples(st.integers(0, 4), finite(), finite(), finite(0), finite(0)), max_size=20))
def test_boxes_of_a_label_file_survive_exactly(boxes):
    text = "\n".join(" ".join(map(repr, box)) for box in boxes)
    parsed = label_file.parse(text.encode(), "a.txt", list("abcde"))
    assert parsed.issues == ()
    assert [(b.label, b.edges, b.place) for b in parsed.boxes] == [
        (label, (x - w / 2, y - h / 2, x + w / 2, y + h / 2), number)
        for number, (label, x, y, w, h) in enumerate(boxes, 1)
    ]


# --- VOC


@thorough
@given(soup(TAGS), st.sampled_from([0, 1]))
def test_any_bytes_are_a_voc_file_or_say_why_not(data, origin):
    checked(xml.parse(data, "a.xml", None, origin), "a.xml")


def test_xml_that_nests_without_end_is_read_or_refused():
    checked(xml.parse(b"<annotation>" + b"<object>" * 20_000, "a.xml", None), "a.xml")
    checked(xml.parse(b"<object>" * 20_000 + b"</object>" * 20_000, "a.xml", None), "a.xml")


@thorough
@given(st.lists(st.tuples(finite(), finite(), finite(0), finite(0)), max_size=10), st.sampled_from([0, 1]))
def test_boxes_of_a_voc_file_survive_exactly(boxes, origin):
    corners = [(x, y, x + w, y + h) for x, y, w, h in boxes]
    objects = "".join(
        f"<object><name>cat</name><bndbox><xmin>{a!r}</xmin><ymin>{b!r}</ymin><xmax>{c!r}</xmax><ymax>{d!r}</ymax>"
        "</bndbox></object>\n"
        for a, b, c, d in corners
    )
    parsed = xml.parse(f"<annotation>{objects}</annotation>".encode(), "a.xml", None, origin)
    assert parsed.issues == ()
    assert [(b.label, b.edges, b.place) for b in parsed.boxes] == [
        ("cat", (a - origin, b - origin, c, d), number) for number, (a, b, c, d) in enumerate(corners, 1)
    ]


@thorough
@given(soup([b"a", b"\n", b"../", b"/etc/passwd", b"\0", b"\xff", b"a.xml", b"x" * 300, b"\\"]))
def test_any_bytes_are_a_list_of_an_image_set(source, data):
    root = source.parent / "voc"
    if not root.exists():
        for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (root / name).mkdir(parents=True)
        (root / "Annotations/a.xml").write_text("<annotation></annotation>")
        (root / "JPEGImages/a.png").write_bytes(b"")
    survives(root, {"ImageSets/Main/train.txt": data})


# --- COCO


@thorough
@given(soup(NOTES))
@example(b'{"images": [], "annotations": [], "categories": []}')
@example(b'{"images": [{}], "annotations": [{}], "categories": []}')
@example(b'{"images": [{"id": [], "file_name": "a"}], "annotations": [{"id": {}, "bbox": [[]]}], "categories": []}')
def test_any_bytes_are_a_coco_file_or_a_refusal(source, data):
    root = source.parent / "coco"
    root.mkdir(exist_ok=True)
    survives(root, {"a.json": data})
    survives(root, {"a.json": b'{"images": [' + data + b'], "annotations": [], "categories": []}'})


@thorough
@given(
    st.lists(
        st.tuples(finite(), finite(), finite(0), finite(0), st.sampled_from(["cat", "dog"]), st.integers(0, 2)),
        max_size=20,
    )
)
def test_boxes_of_a_coco_file_survive_exactly(source, boxes):
    root = source.parent / "exact"
    root.mkdir(exist_ok=True)
    for number in range(3):
        (root / f"{number}.png").write_bytes(b"")
    annotations = [
        {"id": n, "image_id": i, "category_id": {"cat": 2, "dog": -1}[name], "bbox": [x, y, w, h]}
        for n, (x, y, w, h, name, i) in enumerate(boxes)
    ]
    values = {
        "annotations": annotations,
        "categories": [{"id": 2, "name": "cat"}, {"id": -1, "name": "dog"}],
        "images": [{"id": n, "file_name": f"{n}.png"} for n in range(3)],
    }
    entries = survives(root, {"a.json": json.dumps(values).encode()})
    found = {(box, entry.source) for entry in entries for box in entry.parsed.boxes}
    assert found == {
        ((int(name == "cat"), (x, y, x + w, y + h), n), f"{i}.png") for n, (x, y, w, h, name, i) in enumerate(boxes)
    }


# --- descriptions


@thorough
@given(soup(WORDS))
@example(b"train: images/train\nnames: &a [*a]\n")
@example(b"train: images/train\nnames: {0: a, 999999999: b}\n")
def test_any_bytes_are_a_data_yaml_or_a_refusal(source, data):
    survives(source, {"data.yaml": data})


@thorough
@given(soup(KEYS), soup([b"cat\n", b"\n", b"\xff", b"\0"]))
def test_any_bytes_are_an_obj_data_or_a_refusal(source, data, names):
    described = b"train = list.txt\nnames = obj.names\n"
    survives(source, {"obj.data": described + data, "obj.names": names, "list.txt": b"images/train/a.png\n"})


@thorough
@given(
    st.lists(
        st.lists(
            st.sampled_from(
                [
                    "..",
                    ".",
                    "images",
                    "train",
                    "a.png",
                    "secret.png",
                    "",
                    "/etc",
                    "hostname",
                    "~",
                    "\0",
                    "\udcff",
                    "x" * 300,
                ]
            ),
            max_size=6,
        ).map("/".join),
        max_size=8,
    ),
    st.booleans(),
)
@example(["../secret.png", "images/../../secret.png", "./images/train/a.png"], False)
@example(["C:\\x\\images\\train\\a.png", "/home/x/images/train/a.png"], True)
def test_lines_of_a_list_never_leave_the_source(source, lines, foreign):
    listed = os.fsencode("\n".join([*lines, str(source.parent / "secret.png")]))
    (source / "link").unlink(missing_ok=True)
    (source / "link").symlink_to(source.parent)
    listed += b"\nlink/secret.png\n"
    name, text = (
        ("obj.data", b"train = list.txt\nnames = obj.names\n")
        if foreign
        else (
            "data.yaml",
            b"train: list.txt\nnames: [cat]\n",
        )
    )
    entries = survives(source, {name: text, "list.txt": listed, "obj.names": b"cat\n"})
    assert sum(isinstance(entry, Issue) and entry.rule == "missing-image" for entry in entries) >= 2
    assert {entry.source for entry in entries if isinstance(entry, ImageRecord)} <= {"images/train/a.png"}
