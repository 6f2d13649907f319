"""Policies: what a file can set, and mistakes, which are all reported at once in our own words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sightline.config.assignments import parse_assignments
from sightline.config.presets import resolve
from sightline.errors import ConfigError
from sightline.policy import BASES, Policy, load
from sightline.rules import RULES, Scope

SETTING = "error, warning, off, or {severity, max_count, max_fraction}"


def mistakes(folder: Path, text: str) -> ConfigError:
    """Load a policy file that is wrong."""
    path = folder / "policy.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(str(path))
    return caught.value


def test_every_rule_says_why_it_matters_and_what_to_do():
    assert len(RULES) >= 45
    for rule in RULES.values():
        assert rule.finds
        assert rule.why.endswith(".")
        assert rule.fix.endswith(".")
    severities = {name: {rule: Policy(base=name).setting(rule).severity for rule in RULES} for name in BASES}
    order = ["off", "warning", "error"]
    for rule in RULES:
        ranks = [order.index(severities[name][rule]) for name in ("lenient", "default", "strict")]
        assert ranks == sorted(ranks), rule


def test_budgets_count_boxes_or_images_and_never_the_set():
    shares = {Scope.IMAGE: "images", Scope.SOURCE: "images", Scope.BOX: "boxes", Scope.SET: None}
    for rule in RULES.values():
        assert rule.budget_unit == shares[rule.scope], rule.id
        assert rule.drops in {Scope.IMAGE: ["image"], Scope.BOX: ["image", "box"]}.get(rule.scope, [None]), rule.id
        lenient = Policy(base="lenient").setting(rule.id)
        tolerated = 0.05 if rule.budget_unit and rule.severity == "error" else None
        assert lenient.max_fraction == tolerated, rule.id
    assert Policy().setting("zero-area-box").max_fraction == 0.01


def test_a_policy_file_is_read(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(
        "base: lenient\nrules:\n  near-duplicate: off\n  tiny-box: error\n"
        "  box-outside: {max_count: 3}\n"
        "thresholds: {min_boxes: 50, max_imbalance: 4}\n"
    )
    policy = Policy.model_validate(load(str(path)))
    assert policy.setting("near-duplicate").severity == "off"
    assert (policy.setting("box-outside").severity, policy.setting("box-outside").max_count) == ("error", 3)
    assert policy.setting("unreadable-image").max_fraction == 0.05
    assert (policy.thresholds.min_boxes, policy.thresholds.max_imbalance) == (50, 4)
    assert Policy.model_validate_json(policy.model_dump_json()) == policy
    assert resolve("fast", {"data.policy": load(str(path))}).data.policy == policy


def test_mistakes_of_shape_are_reported_at_once_in_our_words(tmp_path):
    error = mistakes(
        tmp_path,
        "base: stric\nbasis: strict\n1: 2\nthresholds: {min_boxs: 3, max_imbalance: -1, min_boxes: 1.5, decode: 2}\n"
        "rules:\n  zero-area-box:\n  tiny-box: on\n  clipped-box: {max_fraction: 2, max_cuont: 1}\n  7: off\n"
        "  duplicate-box: {severity: err}\n  wrong-task: {}\n  class-range: {max_count: yes}\n",
    )
    assert sorted(error.problems) == sorted(
        [
            "base: got 'stric', expected strict, default or lenient",
            "basis: is not a setting; did you mean 'base'?",
            "1: is not a setting",
            "thresholds.min_boxs: is not a setting; did you mean 'min_boxes'?",
            "thresholds.max_imbalance: got -1, expected a number, at least 1",
            "thresholds.min_boxes: got 1.5, expected a whole number, at least 0",
            "thresholds.decode: got 2, expected true or false",
            f"rules.zero-area-box: got null, expected {SETTING}",
            f"rules.tiny-box: got 'on', expected {SETTING}",
            "rules.clipped-box.max_fraction: got 2, expected a number, at least 0 and at most 1",
            "rules.clipped-box.max_cuont: is not a setting; did you mean 'max_count'?",
            "rules.7: unknown rule (`sightline validate --rules` lists them)",
            f"rules.duplicate-box: got 'err', expected {SETTING}",
            f"rules.wrong-task: got {{}}, expected {SETTING}",
            "rules.class-range.max_count: got 'on', expected a whole number, at least 0",
        ]
    )
    assert mistakes(tmp_path, "rules:\n").problems == (
        "rules: got null, expected an object: a setting for each rule's name",
    )
    with pytest.raises(ConfigError, match="did you mean 'strict'"):
        load("stric")


def test_settings_that_cannot_be_kept_are_refused(tmp_path):
    error = mistakes(
        tmp_path,
        "rules:\n  tiny-bix: off\n  zero-area-box: off\n  duplicate-image: off\n  conflicting-labels: off\n"
        "  class-gap: {max_count: 1}\n  tiny-box: off\n",
    )
    removed = "cannot be off: what it finds is left out anyway; expected error or warning"
    assert error.problems[0].startswith("unknown rule 'tiny-bix'; did you mean 'tiny-box'?")
    assert error.problems[1:4] == tuple(
        f"{rule} {removed}" for rule in ("zero-area-box", "duplicate-image", "conflicting-labels")
    )
    assert error.problems[4].startswith("class-gap has no budget: it is about the whole set")
    assert len(error.problems) == 5
    for severity in ("warning", "off"):
        error = mistakes(tmp_path, f"rules: {{tiny-box: {{severity: {severity}, max_count: 1}}}}\n")
        assert "a budget is for errors" in str(error)
    for rule in RULES.values():
        if not rule.removes:
            assert Policy.model_validate({"rules": {rule.id: "off"}}).setting(rule.id).severity == "off"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rules:\n  tiny-box: off\n  tiny-box: error\n", "line 3: 'tiny-box' is given twice"),
        ("base: strict\nbase: strict\n", "line 2: 'base' is given twice"),
        ("base: !!timestamp 2001-99-99", "month must be in 1..12"),
        ("[" * 3000, "nested too deeply"),
        ("a: &a [1, 1]\nb: [*a, *a]\n", "line 2: aliases (*) are not allowed"),
        ("base: !!int ''", "does not fit its tag"),
        ("base: " + "9" * 5000, "4300 digits"),
        ("base: [", "line 1: "),
        ("# " + "x" * (1 << 20), "bytes, expected at most 1048576"),
        ("[1]", "holds no settings"),
    ],
)
def test_hostile_yaml_is_a_mistake_and_no_crash(tmp_path, text, said):
    assert said in str(mistakes(tmp_path, text))
    if len(text) < 10_000 and text != "[1]":
        with pytest.raises(ConfigError, match=r"cannot be read") as caught:
            parse_assignments([f"data.policy={text}"])
        assert said in str(caught.value)
        assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("stric", "data.policy.base: got 'stric', expected strict, default or lenient"),
        ("null", "data.policy: got null, expected strict, default, lenient, or an object"),
        ("off", "data.policy: got 'off', expected strict, default, lenient, or an object"),
        ("{rules: {tiny-box: on}}", f"data.policy.rules.tiny-box: got 'on', expected {SETTING}"),
        ("{rules: {unused-file: off}}", "data.policy: unused-file cannot be off"),
        ("{thresholds: {min_boxes: -1}}", "data.policy.thresholds.min_boxes: got -1, expected a whole number"),
    ],
)
def test_mistakes_of_set_are_reported_as_those_of_a_file(value, said):
    with pytest.raises(ConfigError) as caught:
        resolve("fast", parse_assignments([f"data.policy={value}"]))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("value", "rule", "expected"),
    [
        ("lenient", "unreadable-image", ("error", 0.05)),
        ("{base: strict}", "missing-label", ("error", None)),
        ("{rules: {tiny-box: {max_fraction: 0.5}}}", "tiny-box", ("error", 0.5)),
    ],
)
def test_set_takes_a_name_or_an_object(value: str, rule: str, expected: Any):
    setting = resolve("fast", parse_assignments([f"data.policy={value}"])).data.policy.setting(rule)
    assert (setting.severity, setting.max_fraction) == expected


def test_a_budget_is_exact_at_its_border():
    setting = Policy.model_validate({"rules": {"box-outside": {"max_fraction": 0.29}}}).setting("box-outside")
    assert not setting.exceeded(29, 100)
    assert setting.exceeded(30, 100)
