"""`make manifests` finds what is wrong, and does not pass for want of a tool."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.helpers.manifests import ROOT, TOOLS

WRONG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: typo}
dta: {}
---
apiVersion: v1
kind: ConfigMpa
metadata: {name: unknown}
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the Python of the tools, with nothing in PATH."""
    if not (TOOLS / ".." / ".installed").is_file():
        pytest.skip("the tools are not installed: make manifests")
    return subprocess.run([TOOLS / "python", *arguments], cwd=ROOT, env={"PATH": ""}, capture_output=True, text=True)


def test_a_missing_tool_is_an_error() -> None:
    done = python("manifests/check.py")
    said = "the program promtool is missing: Debian's package prometheus has it\n"
    assert (done.returncode, done.stderr, done.stdout) == (2, said, "")


def test_a_misspelled_field_and_a_misspelled_kind_are_found(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(WRONG)
    code = "import check, pathlib, sys; check.OLDEST = '1.36'; check.WITHOUT_SCHEMA = {}"
    code += "; print(*check.against_schemas({'ours': pathlib.Path(sys.argv[1])}), sep='\\n')"
    done = python("-c", f"import sys; sys.path.insert(0, 'manifests'); {code}", str(tmp_path / "wrong.yaml"))
    typo, unknown = done.stdout.splitlines()
    assert typo.startswith("ours: ConfigMap/typo: : Additional properties are not allowed ('dta' was unexpected)")
    assert "(Kubernetes 1.36, " in typo
    assert unknown.startswith("v1 ConfigMpa: no schema in Kubernetes ['1.36', ")
    assert unknown.endswith("expected in []")
