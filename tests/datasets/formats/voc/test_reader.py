"""Pascal VOC sets: lists of splits, images by stem and name, and what is no annotation."""

from __future__ import annotations

import shutil

import pytest

from sightline.datasets.formats.voc import xml as voc_xml
from sightline.datasets.types import Box, Parsed
from tests.helpers.reading import collect


def test_voc_trainval_is_ignored_beside_train_and_stands_for_it_alone(sets):
    root = sets.voc()
    main = root / "ImageSets/Main"
    (main / "trainval.txt").write_text("0\n1\n2\n3\n4\n5\n6\n7\n")
    (main / "train.txt").write_text("0\n1.png\nJPEGImages/2.png\n3\n")
    read = collect(root)
    assert read.counts() == {"train": (4, 4), "val": (2, 2), "test": (2, 2)}
    assert read.rules() == [("no-split", "Annotations/4.xml"), ("no-split", "Annotations/5.xml")]
    assert read.found[0].message == "is of an image in no split; left out"
    (main / "train.txt").unlink()
    (main / "val.txt").unlink()
    assert collect(root).counts() == {"train": (8, 8), "test": (2, 2)}


def test_voc_in_split_folders_with_images_beside_and_mixed_case_is_read(sets, tmp_path):
    root = sets.voc()
    for split, folder in (("train", "train"), ("val", "valid"), ("test", "test")):
        (tmp_path / "flat" / folder).mkdir(parents=True)
        for stem, suffix, xml in zip(
            (root / f"ImageSets/Main/{split}.txt").read_text().split(),
            (".png", ".PNG", ".Png") * 2,
            (".xml", ".Xml", ".XML") * 2,
            strict=False,
        ):
            shutil.copy(root / f"JPEGImages/{stem}.png", tmp_path / "flat" / folder / f"{stem}{suffix}")
            shutil.copy(root / f"Annotations/{stem}.xml", tmp_path / "flat" / folder / f"{stem}{xml}")
    read = collect(tmp_path / "flat")
    assert read.boxes == collect(root).boxes
    assert read.found == []


def test_voc_images_go_by_the_stem_and_then_by_the_name_in_the_file(sets):
    root = sets.voc()
    (root / "Annotations/3.xml").rename(root / "Annotations/renamed.xml")
    (root / "ImageSets/Main/train.txt").write_text("0\n1\n2\nrenamed\n4\n5\n")
    assert collect(root).boxes == collect(sets.voc("other")).boxes
    (root / "JPEGImages/3.png").unlink()
    sets.picture(root / "JPEGImages/77.png", 77)
    with (root / "ImageSets/Main/val.txt").open("a") as file:
        file.write("ghost\n77\n")
    read = collect(root)
    assert sorted(read.rules()) == [
        ("missing-image", "Annotations/renamed.xml:2"),
        ("missing-image", "ImageSets/Main/val.txt:3"),
    ]
    assert read.records["JPEGImages/77.png"].label is None
    assert read.records["JPEGImages/77.png"].where == "Annotations/77.xml:{}"
    sets.picture(root / "JPEGImages/78.png", 78)
    [unused] = [item for item in collect(root).found if item.rule == "unused-file"]
    assert (unused.where, unused.message) == (
        "JPEGImages/78.png",
        "is an image without an annotation file; expected Annotations/78.xml; left out",
    )


@pytest.mark.parametrize(
    ("old", "new", "rule", "where", "word"),
    [
        ("<xmin>10", "<xmin>ten", "label-syntax", "3.xml:4", "xmin 'ten'"),
        ("<xmin>10", "<xmin>-1e308", "label-syntax", "3.xml:4", "expected four numbers"),
        ("<xmin>10", "<xmin>31", "label-syntax", "3.xml:4", "expected xmin <= xmax"),
        ("<name>dog</name>", "", "label-syntax", "3.xml:4", "without a name"),
        ("bndbox>", "robndbox>", "wrong-task", "3.xml:4", "has an oriented box and no bndbox"),
        ("</object>", "", "label-syntax", "3.xml:6", "not XML"),
        ("<annotation>", '<!DOCTYPE a [<!ENTITY b "c">]><annotation>', "label-syntax", "3.xml:1", "entities"),
        ("<annotation>", '<?xml version="1.0" encoding="gb2312"?><annotation>', "label-syntax", "3.xml:1", "encoding"),
        ("annotation>", "svg>", "label-syntax", "3.xml:1", "expected an <annotation>"),
    ],
)
def test_voc_files_that_cannot_be_used_are_named(sets, old, new, rule, where, word):
    root = sets.voc()
    path = root / "Annotations/3.xml"
    path.write_text(path.read_text().replace(old, new))
    [found] = collect(root).found
    assert (found.rule, found.where) == (rule, f"Annotations/{where}")
    assert word in found.message


def test_voc_parts_and_polygons_inside_objects_add_no_boxes_and_the_origin_moves_two_edges():
    text = (
        b"<annotation><filename>a.jpg</filename><size><width>40</width><height>20</height></size>\n<object>"
        b"<name>man</name><polygon><x1>1</x1></polygon>\n<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>40</xmax>"
        b"<ymax>20</ymax></bndbox><part><name>head</name><bndbox><xmin>3</xmin></bndbox></part></object></annotation>"
    )
    plain, counted = (voc_xml.parse(text, "a.xml", None, origin) for origin in (0, 1))
    assert plain == Parsed((Box("man", (1, 1, 40, 20), 2),), (40, 20), (), "a.jpg")
    assert counted.boxes == (("man", (0, 0, 40, 20), 2),)
