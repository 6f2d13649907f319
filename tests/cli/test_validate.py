"""`sightline validate`: options that do not fit together are refused before anything is done."""

from __future__ import annotations

import pytest

from tests.helpers.command import sightline
from tests.helpers.sets import Sets


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
    root = Sets(tmp_path).yolo("in")
    before = sorted(root.rglob("*"))
    for target in (root, root / "fixed"):
        done = sightline("validate", "--data", str(root), "--fix", str(target), cwd=tmp_path)
        assert done.returncode == 2
        assert f"--fix: {target} lies within {root}" in done.stderr
    assert sorted(root.rglob("*")) == before
