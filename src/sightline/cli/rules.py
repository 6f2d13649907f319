"""`sightline validate --rules`: what the data gate looks for."""

from __future__ import annotations

import typer

from sightline.cli.options import out
from sightline.policy import BASES, Policy
from sightline.rules import RULES, dropped


def list_rules(wanted: bool) -> None:
    """Print every rule with its severity in each policy, why it matters and how to mend it, and exit."""
    if not wanted:
        return
    policies = {base: Policy(base=base) for base in BASES}
    for rule in RULES.values():
        severities = ", ".join(f"{base} {_severity(policy, rule.id)}" for base, policy in policies.items())
        out.print(f"[bold]{rule.id}[/]  {severities}")
        out.print(f"  finds  {rule.finds}", f"  why    {rule.why}", f"  fix    {rule.fix}", sep="\n", markup=False)
        out.print(f"  as a warning: {rule.handling}; as a tolerated error: {dropped(rule)}", style="dim")
    out.print(
        "\nAn error refuses the data, unless a policy tolerates some: max_count, or max_fraction of what was looked at."
    )
    raise typer.Exit


def _severity(policy: Policy, rule: str) -> str:
    setting = policy.of(rule)
    colour = {"error": "red", "warning": "yellow", "off": "dim"}[setting.severity]
    tolerated = f" above {setting.max_fraction:.0%}" if setting.max_fraction else ""
    return f"[{colour}]{setting.severity}[/]{tolerated}"
