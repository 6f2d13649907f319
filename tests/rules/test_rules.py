"""Every rule finds something, and what becomes of it is what the fields of the rule say: in training and with `--fix`.

A new rule needs its definition, its check, and an input in `tests/helpers/rule_inputs.py`; nothing here.
"""

from __future__ import annotations

import ast
import csv
import html
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import sightline
from pipelines.compile import rules as table
from sightline.config.presets import resolve
from sightline.documents import DataDocument, Example, RuleResult
from sightline.errors import DataError
from sightline.pages import data_page
from sightline.rules import RULES, Handling, Repair, Rule, Scope
from sightline.rules.rule import HANDLED, REPAIRED
from sightline.validate import refusal, validated_source
from sightline.validate.repair.fix import fix
from tests.helpers.rule_inputs import INPUTS
from tests.helpers.sets import Sets

each_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
CHANGED = (Repair.WRITTEN, Repair.LEFT_OUT, Repair.SAVED, Repair.COPY_REMOVED)  # with a sentence of their own


class Gated(NamedTuple):
    """What the gate makes of a set: the document, what passed, and the page."""

    document: DataDocument
    boxes: dict[str, int]  # of each image that is trained on
    page: str

    def of(self, rule: str) -> RuleResult | None:
        return next((finding for finding in self.document.findings if finding.rule == rule), None)


def setting(rule: Rule, taken: Any) -> dict[str, Any]:
    """Return a policy under which no rule but perhaps this one refuses anything."""
    return {"rules": dict.fromkeys(RULES, "warning") | {rule.id: taken}}


def gate(root: Path, policy: dict[str, Any]) -> Gated:
    with validated_source.opened(str(root), resolve("balanced", {"data.policy": policy}), trainable=False) as result:
        boxes = {sample.source: len(sample.labels) for sample in result.dataset.samples()}
        return Gated(result.document, boxes, data_page.render(result.document, result.picture))


def changes(folder: Path) -> list[dict[str, str]]:
    with open(folder / "changes.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_rule_has_an_input_and_no_input_is_of_none():
    assert set(INPUTS) == set(RULES)


@each_rule
def test_fields_do_not_contradict_each_other(rule: Rule):
    assert rule.handling in HANDLED
    assert rule.repair in REPAIRED
    assert (rule.change != "") == (rule.repair in CHANGED)
    assert rule.tolerated is None or (rule.severity == "error" and rule.budget_unit)
    assert not rule.drops_image or rule.scope is Scope.BOX
    assert rule.may_follow is None or RULES[rule.may_follow].cause
    assert rule.removes <= (rule.scope is not Scope.SET)
    if rule.scope is Scope.BOX and rule.removes:
        assert rule.change  # what `--fix` removes, it lists
    assert rule.strict in ("error", "warning")


@each_rule
def test_a_rule_is_found_and_handled_as_its_fields_say_where_it_is_a_warning(rule: Rule, sets: Sets):
    root = INPUTS[rule.id](sets)
    gated = gate(root, setting(rule, "warning"))
    found = gated.of(rule.id)
    assert found is not None
    assert (found.handling, found.rejected) == (rule.handled, False)
    check_handled(rule, found, gated)
    assert gated.document.verdict == "accepted"
    assert f'id="{rule.id}"' in gated.page
    assert rule.handled in html.unescape(gated.page)


def check_handled(rule: Rule, found: RuleResult, gated: Gated) -> None:
    """Check that what was found is trained on, or is not."""
    document, places = gated.document, {example.image or example.where for example in found.examples}
    named = [example.image for example in found.examples if example.image]
    match rule.handling, rule.scope:
        case Handling.KEPT, _:
            assert all(name in gated.boxes for name in named)
            assert not rule.removes
            assert rule.scope is not Scope.BOX or document.dropped_boxes == 0
        case ((Handling.LEFT_OUT | Handling.FIRST_KEPT), Scope.IMAGE):
            assert places.isdisjoint(gated.boxes)
            assert document.dropped_images == found.count
        case ((Handling.LEFT_OUT | Handling.FIRST_KEPT), Scope.BOX):
            assert all(gated.boxes[name] for name in named)
            assert (document.dropped_images, document.dropped_boxes) == (0, found.count)
        case Handling.LEFT_OUT, Scope.SOURCE:
            assert {example.where for example in found.examples}.isdisjoint(gated.boxes)
            assert document.dropped_boxes == 0
            assert not rule.unindexed or document.dropped_images == found.count
        case other:
            raise AssertionError(other)


@each_rule
def test_a_rule_refuses_as_an_error_and_drops_what_its_fields_say_where_that_is_tolerated(rule: Rule, sets: Sets):
    root = INPUTS[rule.id](sets)
    refused = gate(root, setting(rule, "error"))
    found = refused.of(rule.id)
    assert found is not None
    assert (refused.document.verdict, found.rejected, found.handling) == ("rejected", True, "rejected")
    if rule.budget_unit is None:
        return
    gated = gate(root, setting(rule, {"severity": "error", "max_count": 1000}))
    found = gated.of(rule.id)
    assert found is not None
    assert (found.handling, found.rejected) == (rule.dropped, False)
    assert found.of == getattr(gated.document, rule.budget_unit)
    named = {example.image for example in found.examples if example.image}
    if rule.drops == "image":
        assert named.isdisjoint(gated.boxes)
        assert gated.document.dropped_images > 0
    elif rule.drops == "box":
        assert all(gated.boxes[name] for name in named)
        assert gated.document.dropped_boxes == found.count
    else:
        check_handled(rule, found, gated)


@each_rule
def test_fix_repairs_what_the_rules_fields_say_and_leaves_the_rest_alone(rule: Rule, sets: Sets, tmp_path: Path):
    root, out = INPUTS[rule.id](sets), tmp_path / "fixed"
    policy = setting(rule, "error")
    if rule.repair is Repair.REFUSED:
        with pytest.raises(DataError, match="Nothing was written"):
            fix(str(root), resolve("balanced", {"data.policy": policy}), out)
        assert not out.exists()
        return
    done = fix(str(root), resolve("balanced", {"data.policy": policy}), out)
    before, after = gate(root, setting(rule, "warning")), gate(out, setting(rule, "warning"))
    was, left = before.of(rule.id), after.of(rule.id)
    assert was is not None
    listed = [row for row in changes(out) if row["rule"] == rule.id]
    assert len(listed) == done.changes.get(rule.id, 0)
    if rule.repair is Repair.NONE:
        assert left is not None
        assert (left.count, listed) == (was.count, [])
        return
    assert left is None
    if rule.repair is Repair.RENAMED:
        assert done.changes["file-name"] > 0
    else:
        assert listed
    kept = done.images == before.document.images
    if rule.change and not (rule.repair is Repair.SAVED and kept):
        assert {row["change"] for row in listed} == {rule.change}
    if rule.scope is Scope.BOX and rule.repair is Repair.WRITTEN:
        assert kept
        assert done.boxes == before.document.boxes - (was.count if rule.removes else 0)
    if rule.repair in (Repair.LEFT_OUT, Repair.COPY_REMOVED):
        assert not kept
    elif rule.repair in (Repair.REENCODED, Repair.RENAMED, Repair.MOVED):
        assert kept


@each_rule
def test_every_rule_is_in_the_rendered_table_with_its_words(rule: Rule):
    [row] = [line for line in table().splitlines() if line.startswith(f"| `{rule.id}` |")]
    assert row.endswith(f"| {rule.finds} | {rule.handled} |")


def test_the_command_line_says_of_every_rule_what_happens(tmp_path: Path):
    command = [sys.executable, "-m", "sightline", "validate", "--rules"]
    text = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    for rule in RULES.values():
        said = f"\n{text}".partition(f"\n{rule.id}  ")[2].splitlines()[:5]
        assert f"  finds  {rule.finds}" in said
        assert (
            f"  as a warning: {rule.handled}; as a tolerated error: {rule.dropped}; with --fix: {rule.repaired}" in said
        )


def test_what_may_follow_from_a_refused_cause_takes_one_line(sets: Sets):
    document = gate(sets.yolo(), {}).document

    def refused(rule: str) -> RuleResult:
        examples = [Example(where=f"{number}.txt", message="is odd", image=None, box=None) for number in range(3)]
        values = {"severity": "error", "count": 3, "of": 10, "max_count": None, "max_fraction": None}
        return RuleResult(rule=rule, **values, rejected=True, handling="rejected", examples=examples)

    for rule in RULES.values():
        if rule.may_follow:
            findings = [refused(rule.may_follow), refused(rule.id)]
            error = refusal.rejection(document.model_copy(update={"findings": findings}), "data.html")
            assert len(error.problems) == 4
            assert error.problems[3].startswith(f"{rule.id} 3, which may follow from {rule.may_follow}, such as 0.txt")


def collections(path: Path) -> Iterator[str]:
    """Yield where a module holds several ids of rules together."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Tuple | ast.List | ast.Set | ast.Dict):
            parts = node.keys if isinstance(node, ast.Dict) else node.elts
            if sum(isinstance(part, ast.Constant) and part.value in RULES for part in parts) > 1:
                yield f"{path.name}:{node.lineno}"


def test_no_module_keeps_a_list_of_rules_that_a_new_one_would_have_to_join():
    source = Path(sightline.__file__).parent
    modules = [path for path in source.rglob("*.py") if path.parent.name != "rules"]
    assert len(modules) > 150
    assert [place for path in modules for place in collections(path)] == []
