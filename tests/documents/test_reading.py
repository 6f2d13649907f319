"""A document that is missing, damaged or of another version is refused, naming a command that writes it again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline import documents
from sightline.cli import app
from sightline.documents import Document, read
from sightline.errors import StageInputError
from tests.helpers.documents import write_run

KINDS = [
    kind
    for kind in vars(documents).values()
    if isinstance(kind, type) and issubclass(kind, Document) and kind is not Document
]
COMMANDS = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
CONTENTS = [None, b"", b"{", b"\xff", b"[]", b"{}", b'{"schema_version": 1}', b'{"schema_version": "new"}']


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_document_names_a_command_that_exists(kind: type[Document], tmp_path: Path) -> None:
    path = tmp_path / kind.file_name()
    for content in CONTENTS:
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(StageInputError) as caught:
            read(kind, tmp_path)
        message = str(caught.value)
        [command] = re.findall("`sightline (.+?)`", message)
        assert command in COMMANDS, message
        assert str(path.name) in message
        assert " a e" not in message
        assert ": :" not in message


def test_what_validate_and_report_write_beside_their_own_document_names_them(tmp_path: Path) -> None:
    named = {kind.file_name(): kind.command() for kind in KINDS}
    assert named["data.json"] == named["validate.json"] == "sightline validate"
    assert named["summary.json"] == named["report.json"] == "sightline report"
    assert named["evaluate.json"] == "sightline evaluate"


def test_report_writes_a_summary_of_another_version_again(command: Callable, tmp_path: Path) -> None:
    write_run(tmp_path / "run", stages=["validate"])
    (tmp_path / "run" / "summary.json").write_text('{"schema_version": 1}')
    done = command("report", "--run", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["schema_version"] == 2
