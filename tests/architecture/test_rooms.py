"""Tests lie in the rooms of the code that they protect, and no test file leans on another."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parents[1]
PACKAGE = TESTS.parent / "src" / "sightline"
OF_NO_ROOM = {"architecture", "bench", "cluster", "e2e", "faults", "helpers", "images", "manifests", "pipelines"}


def test_every_folder_of_tests_is_a_room_of_the_package() -> None:
    folders = {path.parent.relative_to(TESTS) for path in TESTS.rglob("test_*.py")} - {Path()}
    homes = {folder for folder in folders if folder.parts[0] not in OF_NO_ROOM}
    assert len(homes) > 15
    assert {str(folder) for folder in homes if not (PACKAGE / folder).is_dir()} == set()


def test_a_test_at_the_top_is_named_for_a_module_at_the_top() -> None:
    names = {path.stem.removeprefix("test_") for path in TESTS.glob("test_*.py")}
    assert len(names) > 5
    assert {name for name in names if not (PACKAGE / f"{name}.py").is_file()} == set()


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports, and the names that it takes from them, in full."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_no_file_imports_a_test_or_a_conftest() -> None:
    others = {}
    for path in TESTS.rglob("*.py"):
        parts = [name for name in imported(path) if name.startswith("tests.")]
        wrong = {name for name in parts for part in name.split(".") if part.startswith("test_") or part == "conftest"}
        if wrong:
            others[str(path.relative_to(TESTS))] = wrong
    assert others == {}
