"""The command line: options that fit together, and untrusted text that is shown as text."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from sightline.cli import output
from sightline.cli.config import config_table
from sightline.cli.options import styled
from sightline.config.assignments import keys
from sightline.config.presets import resolve
from sightline.documents import Example, RuleResult
from sightline.rules import RULES
from sightline.runtime.terminal import Terminal, visible, visible_error
from tests.helpers.sets import Sets

HOSTILE = "a[/b] \x1b[31m\nred:smile:\udc80"
SHOWN = r"a[/b] \x1b[31m\nred:smile:\udc80"


def sightline(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a user does."""
    program = str(Path(sys.executable).with_name("sightline"))
    return subprocess.run([program, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def labelled(folder: Path, name: str = "in") -> Path:
    return Sets(folder).yolo(name)


# --- what is printed


def test_control_characters_and_markup_are_shown_as_text(capsys):
    assert visible(HOSTILE) == SHOWN
    assert visible("größe 画像.png\u00a0") == "größe 画像.png\u00a0"
    assert visible("\u202egnp.exe\x9b") == r"\u202egnp.exe\x9b"
    assert visible_error("2 errors:\n  - a\nb\n  - c") == "2 errors:\n  - a\\nb\n  - c"
    console = Terminal(emoji=False, soft_wrap=True, highlight=False)
    console.print(styled(("bad", "red"), f" {HOSTILE}"))
    console.print(HOSTILE.replace("\n", ""), markup=False)
    table = Table("name", box=None)
    table.add_row("\x1b[2J:smile:")
    console.print(table)
    text = capsys.readouterr().out
    assert SHOWN in text
    assert r"\x1b[2J:smile:" in text
    assert "\x1b" not in text


def test_a_finding_is_one_line_whatever_its_file_is_called():
    example = Example(where=HOSTILE, message="is [bold]odd", image=None, box=None)
    finding = RuleResult(
        rule="label-syntax", severity="error", count=1, of=9, max_count=None, max_fraction=None, rejected=True,
        handling="rejected", examples=[example],
    )  # fmt: skip
    assert output.result_line(finding).plain == f"error   label-syntax 1, rejected: {SHOWN}: is [bold]odd"


def test_errors_name_strange_paths_without_obeying_them(tmp_path):
    for strange in ("a[/b]\x1b[31m\nx", ":smile:"):
        done = sightline("train", "--run", strange, cwd=tmp_path)
        assert done.returncode == 2
        assert visible(strange) in done.stderr
        assert "\x1b" not in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_config_lists_exactly_the_keys_that_set_takes(tmp_path):
    table = config_table(resolve("fast", {"data.policy": {"rules": {"tiny-box": "off"}}}))
    listed = dict(zip(*(list(column.cells) for column in table.columns[:2]), strict=True))
    assert list(listed) == list(keys())
    assert listed["data.policy"] == "default, other: tiny-box"


def test_rules_end_with_the_thresholds(tmp_path):
    text = sightline("validate", "--rules", cwd=tmp_path).stdout
    assert all(f"\n{rule}  " in f"\n{text}" for rule in RULES)
    assert "  min_boxes = 10  few-boxes: fewest train boxes of a class.\n" in text.partition("thresholds of a")[2]


# --- what fits together


def test_options_that_would_be_passed_over_are_refused_at_once(tmp_path):
    done = sightline("validate", "--data", "quickstart", "--weights", "x.pt", "--download", cwd=tmp_path)
    assert done.returncode == 2
    assert "--weights, --download: expected with --run only" in done.stderr
    done = sightline("validate", "--data", "quickstart", *["--run", "r", "--report", "p", "--fix", "f"], cwd=tmp_path)
    assert done.returncode == 2
    assert "--report: expected without --run" in done.stderr
    assert "--fix: expected without --run" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--data", "--run", "--report", "--policy", "--fix", "--images", "--preset"])
def test_an_empty_option_is_refused(tmp_path, option):
    options = {"--data": "quickstart", option: ""}
    done = sightline("validate", *(word for pair in options.items() for word in pair), cwd=tmp_path)
    assert done.returncode == 2
    assert option in done.stderr
    assert "got ''" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_a_run_nothing_is_said_of_weights(tmp_path):
    done = sightline("validate", "--data", "quickstart", "--set", "train.epoch=1", cwd=tmp_path)
    assert done.returncode == 2
    assert "train.epochs" in done.stderr
    assert "weights" not in done.stderr


def test_a_repaired_copy_never_lands_in_its_source(tmp_path):
    root = labelled(tmp_path)
    before = sorted(root.rglob("*"))
    for target in (root, root / "fixed"):
        done = sightline("validate", "--data", str(root), "--fix", str(target), cwd=tmp_path)
        assert done.returncode == 2
        assert f"--fix: {target} lies within {root}" in done.stderr
    assert sorted(root.rglob("*")) == before


# --- convert


def test_convert_says_what_it_left_out(tmp_path):
    root = labelled(tmp_path)
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
    root = labelled(tmp_path, "my set")
    (root / "images/train/1.png").write_bytes(b"no image")
    done = sightline("dataset", "convert", str(root), "out", *["--to", "voc", "--policy", "strict", "--format", "yolo"],
                     cwd=tmp_path)  # fmt: skip
    assert done.returncode == 3
    assert "images/train/1.png" in done.stderr
    assert f"sightline validate --data '{root}' --policy strict --format yolo" in done.stderr
    assert not (tmp_path / "out").exists()
