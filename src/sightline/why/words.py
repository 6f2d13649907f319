"""Times, amounts and log lines in words."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

# What in a log is not the task's: lines of KFP's launcher and of Argo, what the server writes for a log that it lacks,
# and what KFP says in Python before the task begins, with all of its inputs and outputs.
NOISE = re.compile(r'[IWEF]\d{4} [\d:.]+ +\d+ \w+\.go:\d+\]|\{"error_message"|time=\S+ level=.* argo=true')
PREAMBLE = re.compile(r"^\[KFP Executor .*\n(?:\{\n(?:.*\n)*?\}\n)?", re.MULTILINE)
# What Go's programs, KFP's driver and launcher, say last: their own words, without time and place.
GO = re.compile(r"^[EF]\d{4} [\d:.]+ +\d+ \w+\.go:\d+\] (.*)$", re.MULTILINE)
ERROR = re.compile(r"^error: ", re.MULTILINE)  # in front of what our tasks say before they end
PYTHON = re.compile(r"^[\w.]*(?:Error|Exception|Interrupt)\b.*$", re.MULTILINE)
QUANTITY = re.compile(r"(\d+(?:\.\d+)?)((?:[KMGTPE]i?|k|m)?)")
UNITS = {"": 1, "m": 1e-3, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
UNITS |= {f"{letter}i": 1024.0 ** (place + 1) for place, letter in enumerate("KMGTPE")}
TABLE = "pipelines/resources.py"  # what every task asks for
WORDS = 600  # characters of somebody's own words: the scheduler counts nodes by each of their reasons
LINES = 12  # of an error that a task printed


def duration(seconds: float) -> str:
    """Write a time for people."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min {rest} s" if minutes and rest else f"{minutes} min" if minutes else f"{rest} s"


def bytes_of(quantity: str) -> float | None:
    """Return Kubernetes' quantity, such as 3Gi or 500m, as a number; None for what is none."""
    found = QUANTITY.fullmatch(quantity.strip())
    return float(found[1]) * UNITS[found[2]] if found else None


def doubled(quantity: str) -> str | None:
    """Return twice a quantity in its own unit; None for what is none."""
    found = QUANTITY.fullmatch(quantity.strip())
    return f"{float(found[1]) * 2:g}{found[2]}" if found else None


def shortened(text: str) -> str:
    """Return somebody's own words in a line that fits into a message."""
    return textwrap.shorten(text, WORDS, placeholder="…")


def clause(text: str) -> str:
    """Return words as the end of a sentence, whose period follows."""
    return shortened(text).rstrip(".:")


def headline(lines: Sequence[str]) -> str:
    """Return an error's first line and, where that announces a list, the first of its problems."""
    first, *problems = [line.strip().removeprefix("- ") for line in lines if line.strip()] or [""]
    if not first.endswith(":") or not problems:
        return clause(first)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{clause(first)}: {clause(problems[0])}{more}"


def joined(parts: Sequence[str]) -> str:
    """Return `a`, `a and b`, or `a, b and c`."""
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def own_lines(log: str) -> list[str]:
    """Return what a task itself printed, line by line."""
    kept = PREAMBLE.sub("", log).splitlines()
    return [line.rstrip() for line in kept if line.strip() and not NOISE.match(line)]


def last_error(log: str) -> list[str]:
    """Return the error for people that a task printed last, line by line; empty without one."""
    text = "\n".join(own_lines(log))
    starts = [found.end() for found in ERROR.finditer(text)]
    if starts:
        first, *more = text[starts[-1] :].splitlines()
        problems = [line for line in more if line.startswith("  - ")]
        return [first, *problems[:LINES]]
    traces = PYTHON.findall(text)
    return [traces[-1]] if traces and "Traceback (most recent call last)" in text else []


def last_of_go(log: str) -> str:
    """Return what KFP's driver or launcher said when it gave up; empty where it said nothing."""
    said = GO.findall(log)
    return said[-1].strip() if said else ""
