"""`sightline validate --rules` and `--schema`: what the data gate looks for, and what its report is made of."""

from __future__ import annotations

import json

import typer

from sightline.cli.options import out
from sightline.documents import DataDocument
from sightline.policy import BASES, Policy, Thresholds
from sightline.rules import RULES


def list_rules(wanted: bool) -> None:
    """Print every rule with its severity in each policy, why it matters and how to fix it, and exit."""
    if not wanted:
        return
    policies = {base: Policy(base=base) for base in BASES}
    for rule in RULES.values():
        severities = ", ".join(f"{base} {_severity(policy, rule.id)}" for base, policy in policies.items())
        out.print(f"[bold]{rule.id}[/]  {severities}")
        out.print(f"  finds  {rule.finds}", f"  why    {rule.why}", f"  fix    {rule.fix}", sep="\n", markup=False)
        handled = f"as a warning: {rule.handled}; as a tolerated error: {rule.dropped}; with --fix: {rule.repaired}"
        out.print(f"  {handled}", style="dim", markup=False)
    out.print(
        "\nAn error rejects the data, unless a policy tolerates some: max_count, or max_fraction of what was looked at."
    )
    out.print("\n[bold]thresholds[/] of a policy, with their defaults")
    for name, field in Thresholds.model_fields.items():
        out.print(f"  {name} = {json.dumps(field.default)}  {field.description}", markup=False)
    raise typer.Exit


def print_schema(wanted: bool) -> None:
    """Print the JSON Schema of data.json, and exit."""
    if wanted:
        print(json.dumps(DataDocument.model_json_schema(), indent=2))
        raise typer.Exit


def _severity(policy: Policy, rule: str) -> str:
    setting = policy.setting(rule)
    colour = {"error": "red", "warning": "yellow", "off": "dim"}[setting.severity]
    tolerated = f" above {setting.max_fraction:.0%}" if setting.max_fraction else ""
    return f"[{colour}]{setting.severity}[/]{tolerated}"
