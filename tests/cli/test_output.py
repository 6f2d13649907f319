"""What the command line prints: untrusted text is shown as text, and tables hold what they promise."""

from __future__ import annotations

from rich.table import Table

from sightline.cli import output
from sightline.cli.config import config_table
from sightline.cli.options import styled
from sightline.config.assignments import keys
from sightline.config.presets import resolve
from sightline.documents import Example, RuleResult, Unchanged
from sightline.rules import RULES
from sightline.runtime.terminal import Terminal, visible, visible_error
from tests.helpers.command import sightline
from tests.helpers.judged import ended

HOSTILE = "a[/b] \x1b[31m\nred:smile:\udc80"
SHOWN = r"a[/b] \x1b[31m\nred:smile:\udc80"


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
    line = "  min_boxes = 10  few-boxes: fewest train boxes that a class should have.\n"
    assert line in text.partition("thresholds of a")[2]


def test_an_unchanged_run_names_the_one_that_stands_and_is_a_success(tmp_path, capsys):
    stands = Unchanged(run_id="r0", status="accepted", why="All is the same.")
    summary = ended("r1", "unchanged", unchanged=stands)
    output.print_summary(summary, tmp_path, Terminal(emoji=False, soft_wrap=True, highlight=False), named=True)
    text = capsys.readouterr().out
    assert "UNCHANGED\nNothing was trained: run r0, accepted, still stands. All is the same.\n" in text
    assert "--retrain always" in text
    assert output.exit_code(summary) == 0


def test_retrain_is_an_option_that_does_not_go_with_no_cache(tmp_path):
    for arguments in (("--retrain", "changed", "--no-cache"), ("--no-cache", "--set", "retrain.when=changed")):
        done = sightline("run", *arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert "--no-cache trains in any case, retrain.when=changed only if it pays" in done.stderr
    assert not (tmp_path / "runs").exists()
