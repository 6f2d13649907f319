"""Lines of YOLO label files: what is a box, and what the others are called."""

from __future__ import annotations

import pytest

from sightline.datasets.formats.yolo import label_file


def parsed_rules(text: str, count: int = 2) -> list[tuple[str, str]]:
    found = label_file.parse(text.encode(), "a.txt", [str(n) for n in range(count)]).issues
    assert all(item.where.startswith("a.txt") for item in found)
    return [(item.rule, item.message) for item in found]


@pytest.mark.parametrize(
    ("line", "rule", "words"),
    [
        ("zero 0.5 0.5 0.1 0.1", "label-syntax", "got 'zero 0.5 0.5 0.1 0.1', expected five numbers"),
        ("0 0.5 0.5 0.1", "label-syntax", "got 4 numbers, expected five"),
        ("0 nan 0.5 0.1 0.1", "label-syntax", "expected finite numbers"),
        ("0 0.5 0.5 inf 0.1", "label-syntax", "expected finite numbers"),
        ("0 0.5 0.5 -0.1 0.1", "label-syntax", "negative size"),
        ("0 0.5 0.5 0.1 0.1 0.9", "wrong-task", "got 6 numbers, which is a prediction"),
        ("0 0.1 0.1 0.2 0.1 0.2 0.2", "wrong-task", "got 7 numbers, which is a segmentation label"),
        ("0 .1 .1 .2 .1 .2 .2 .1 .2", "wrong-task", "an oriented box or a polygon of four points"),
        ("0 .5 .5 .2 .2 .45 .5 2", "wrong-task", "got 8 numbers, which is a pose label"),
        ("0 .5 .5 .2 .2" + " .45 .5 2" * 17, "wrong-task", "got 56 numbers, which is a pose label"),
        ("0 1e308 .5 1.7e308 .1", "label-syntax", "endless size or place"),
        ("0 .5 -1e200 .1 .1", "label-syntax", "endless size or place"),
        ("2 0.5 0.5 0.1 0.1", "class-range", "got class 2, expected 0 to 1 (2 class names)"),
        ("-1 0.5 0.5 0.1 0.1", "class-range", "got class -1"),
        ("0.5 0.5 0.5 0.1 0.1", "class-range", "got class 0.5"),
    ],
)
def test_a_label_line_that_is_no_box_is_named(line, rule, words):
    [(found, message)] = parsed_rules(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    assert found == rule
    assert words in message


def test_label_files_that_are_no_text_are_named_once():
    assert parsed_rules("0 0.5 0.5 0.1 0.1\n\n \n") == []
    assert label_file.parse("\ufeff1.0 .5 .5 1 1\r\n".encode(), "a.txt", ["a", "b"]).boxes == ((1, (0, 0, 1, 1), 1),)
    assert [f.rule for f in label_file.parse("0 0.5".encode("utf-16"), "a.txt", ["a"]).issues] == ["label-syntax"]
    [large] = label_file.parse(b" " * (2**24 + 1), "a.txt", ["a"]).issues
    assert (large.rule, "at most 16 MiB" in large.message) == ("label-syntax", True)
    many = label_file.parse(b"x\n" * 5000, "a.txt", ["a"]).issues
    assert (len(many), many[-1].message) == (1001, "the 1000th bad line; the rest is not read")
