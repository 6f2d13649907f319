"""What is printed never ends a command: in any encoding, with a reader who went away, or with none at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.finished_run import Finished
from tests.helpers.sets import Sets

CONSOLES = {
    "POSIX": {"LC_ALL": "POSIX", "PYTHONUTF8": "0"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "dumb": {"TERM": "dumb", "NO_COLOR": "1"},
}
ENDING = """
import sys
from pathlib import Path
from sightline.runtime import terminal
terminal.prepare()
from sightline.cli import output
from sightline.cli.options import out
from sightline.documents import SummaryDocument
summary = SummaryDocument.model_validate_json(Path(sys.argv[1]).read_bytes())
output.print_summary(summary, Path(sys.argv[1]).parent, out, named=True)
"""


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "sightline", *arguments]
    return subprocess.run(command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, check=False)


@pytest.mark.parametrize("console", CONSOLES)
def test_commands_end_as_ever_in_every_encoding(tmp_path: Path, console: str) -> None:
    data = Sets(tmp_path).yolo("größe")
    (data / "labels" / "train" / "ünmatched ✔.txt").touch()
    done = run("validate", "--data", str(data), cwd=tmp_path, **CONSOLES[console])
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    assert b"orphan-label" in done.stdout
    refused = run("validate", "--data", "nöwhere", cwd=tmp_path, **CONSOLES[console])
    assert (refused.returncode, b"Traceback" in refused.stderr) == (2, False), refused.stderr
    assert b"where does not exist" in refused.stderr


def test_json_in_a_poor_encoding_is_the_same_json(tmp_path: Path) -> None:
    data = Sets(tmp_path).yolo("größe ✔ 𝄞")
    done = run("validate", "--data", str(data), "--json", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout)["source"] == str(data)


@pytest.mark.parametrize("console", CONSOLES)
def test_end_of_a_registered_run_can_be_printed_everywhere(quickstart: Finished, console: str) -> None:
    summary = quickstart.folder / "summary.json"
    done = subprocess.run(
        [sys.executable, "-c", ENDING, str(summary)],
        env={**os.environ, **CONSOLES[console]},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"REGISTERED quickstart-smear version 1" in done.stdout


@pytest.mark.parametrize(
    ("shell", "code", "said"),
    [
        ("config >&-", 0, ""),
        ("config >&- 2>&- <&-", 0, ""),
        ("validate --data nowhere >&- 2>&-", 2, ""),
        ("config --json | head -1", 0, ""),
        ("validate --rules | true", 0, ""),
        ("config --set x=1 2>&1 | true", 2, ""),
        ("config --json >/dev/full", 1, "The output could not be written: No space left on device"),
        ("validate --data nowhere 2>/dev/full", 2, ""),
    ],
)
def test_exit_code_is_the_command_s_own_whoever_reads(tmp_path: Path, shell: str, code: int, said: str) -> None:
    line = f"set -o pipefail; '{sys.executable}' -m sightline {shell}"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
