"""Plays all faults, or those that are named, one after another, and prints how each ended: `make faults`.

    make faults                                     all of them: about half an hour on two busy cores
    make faults ARGS="rank-killed full-disk"        these
    make faults ARGS=--list                         what there is

Ends with 1 if one did not end as it must. What could not be played here is counted, with the reason. The outcomes are
written to build/faults.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from tests.faults.cases import CASES, Case
from tests.faults.stand import ROOT, Stand

RESULTS = ROOT / "build" / "faults.json"
STYLES = {"passed": "green", "failed": "red", "skipped": "yellow"}


def main() -> int:
    """Play, print, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="case", help="which; all by default")
    parser.add_argument("--list", action="store_true", help="list them")
    options = parser.parse_args()
    if unknown := set(options.names) - set(CASES):
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    if options.list:
        print("\n".join(f"{each.name:28} {each.injected}" for each in CASES.values()))
        return 0
    console = Console() if Console().is_terminal else Console(width=200)
    rows = []
    with tempfile.TemporaryDirectory(prefix="sightline-faults-") as folder:
        for each in [CASES[name] for name in options.names or CASES]:
            rows.append(played(each, Path(folder)))
            console.print(f"{rows[-1]['case']}: {rows[-1]['verdict']} after {rows[-1]['total']} s", highlight=False)
    console.print(table(rows))
    counts = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in STYLES}
    console.print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    for row in rows:
        if row["verdict"] != "passed":
            console.print(f"{row['verdict']}: {row['case']}: {row['ended']}", markup=False, highlight=False)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 1 if counts["failed"] else 0


def played(each: Case, folder: Path) -> dict[str, Any]:
    """Play a case; returns its row."""
    start = time.monotonic()
    stand = Stand(folder / each.name, folder / "base")
    row: dict[str, Any] = {"case": each.name, "injected": each.injected, "attempts": None, "seconds": None}
    try:
        outcome = each.play(stand)
    except pytest.skip.Exception as reason:
        row |= {"verdict": "skipped", "ended": str(reason)}
    except Exception as error:  # noqa: BLE001 - whatever it is, the others are played
        row |= {"verdict": "failed", "ended": f"{type(error).__name__}: {error}"}
    else:
        seconds = None if outcome.seconds is None else round(outcome.seconds, 1)
        row |= {"verdict": "passed", "ended": outcome.ended, "attempts": outcome.attempts, "seconds": seconds}
    finally:
        stand.close()
    return row | {"total": round(time.monotonic() - start, 1)}


def table(rows: list[dict[str, Any]]) -> Table:
    """Return what happened as a table."""
    found = Table("case", "fault", "how it ended", "attempts", "s to the next step", "s in all", "verdict")
    for row in rows:
        cells = (row[name] for name in ("case", "injected", "ended", "attempts", "seconds", "total"))
        style = STYLES[row["verdict"]]
        shown = ["–" if cell is None else str(cell)[:200] for cell in cells]
        found.add_row(*shown, f"[{style}]{row['verdict']}[/]")
    return found


if __name__ == "__main__":
    raise SystemExit(main())
