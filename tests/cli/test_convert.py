"""`sightline dataset convert`: what is written, what was left out, and how to see why."""

from __future__ import annotations

import json

from tests.helpers.command import sightline
from tests.helpers.sets import Sets


def test_convert_says_what_it_left_out(tmp_path):
    root = Sets(tmp_path).yolo("in")
    (root / "labels/train/0.txt").write_text("0 0.5 0.5 0.3 0.3\n0 0.5 0.5 0 0.1\n")
    (root / "images/train/1.png").write_bytes(b"no image")
    arguments = ("dataset", "convert", str(root), "[/out]", "--to", "coco")
    policy = tmp_path / "a policy.yaml"
    policy.write_text("rules: {unreadable-image: {max_count: 1}, zero-area-box: {max_count: 1}}\n")
    done = sightline(*arguments, "--policy", str(policy), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        "error   unreadable-image 1, tolerated (1 of 10, up to 1 allowed), dropped the image: images/train/1.png"
        in (done.stdout)
    )
    assert "left out, with reasons: 1 image, 1 box" in done.stdout
    assert "[/out]: coco, 5 train, 2 val, 2 test images, 9 boxes" in done.stdout
    done = sightline(*arguments[:3], "again", *arguments[4:], "--policy", str(policy), "--json", cwd=tmp_path)
    document = json.loads(done.stdout)
    assert (document["dropped_images"], document["dropped_boxes"]) == (1, 1)
    assert "zero-area-box" in {finding["rule"] for finding in document["findings"]}


def test_a_refused_convert_shows_the_errors_and_how_to_see_all_of_them(tmp_path):
    root = Sets(tmp_path).yolo("my set")
    (root / "images/train/1.png").write_bytes(b"no image")
    done = sightline("dataset", "convert", str(root), "out", *["--to", "voc", "--policy", "strict", "--format", "yolo"],
                     cwd=tmp_path)  # fmt: skip
    assert done.returncode == 3
    assert "images/train/1.png" in done.stderr
    assert f"sightline validate --data '{root}' --policy strict --format yolo" in done.stderr
    assert not (tmp_path / "out").exists()
