"""A hook is found where the training processes will find it, and nothing of it runs before that."""

from __future__ import annotations

import hashlib
import importlib
from pathlib import Path

import pytest

from sightline.errors import ConfigError
from sightline.runtime.hook import check, load, source_digest

RUNS = "raise SystemExit('it was run')\n"
HOOK = f"{RUNS}def freeze(trainer):\n    pass\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory and a folder on the path; a package's own code fails if it is run."""
    for folder in ("work", "path"):
        (tmp_path / folder / "project" / "deep").mkdir(parents=True)
    (tmp_path / "path" / "project" / "__init__.py").write_text(RUNS)
    (tmp_path / "path" / "project" / "deep" / "hooks.py").write_text(HOOK)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.syspath_prepend(tmp_path / "path")
    importlib.invalidate_caches()
    return tmp_path


def test_it_is_found_in_a_package_without_running_that_and_known_by_its_bytes(here: Path) -> None:
    check("project.deep.hooks:freeze")
    assert source_digest("project.deep.hooks:freeze") == hashlib.sha256(HOOK.encode()).hexdigest()
    file = here / "path" / "project" / "deep" / "hooks.py"
    file.write_text(HOOK + "#\n")
    assert source_digest("project.deep.hooks:freeze") == hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_working_directory_comes_first_as_it_does_in_the_processes_that_train(here: Path) -> None:
    (here / "path" / "hooks.py").write_text("def other(trainer): ...")
    check("hooks:other")
    (here / "work" / "hooks.py").write_text(HOOK)
    importlib.invalidate_caches()
    check("hooks:freeze")


def test_an_installed_package_is_found() -> None:
    check("pydantic.fields:Field")
    assert len(source_digest("pydantic:BaseModel")) == 64


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        ("nowhere:freeze", "got 'nowhere:freeze', and there is no module 'nowhere' here: expected it in the working"),
        ("project.hooks:freeze", "there is no module 'project.hooks' here"),
        ("project.deep.hooks.more:freeze", "there is no module 'project.deep.hooks.more' here"),
        ("project.deep:freeze", "there is no module 'project.deep' here"),
        ("project.deep.hooks:freez", "hooks.py has no `def freez` at its top level; did you mean 'freeze'?"),
        ("broken:freeze", "broken.py is not Python: "),
        ("math:sqrt", "there is no module 'math' here|'math' is .*, not Python source"),
    ],
)
def test_what_is_not_there_is_one_message_that_says_where_it_was_expected(here: Path, hook: str, words: str) -> None:
    (here / "work" / "broken.py").write_text("def freeze(:")
    with pytest.raises(ConfigError, match=words) as caught:
        check(hook)
    assert str(caught.value).startswith(f"train.hook: got '{hook}', and ")


def test_the_processes_that_train_get_the_function_itself(here: Path) -> None:
    (here / "path" / "given_hooks.py").write_text("def freeze(trainer):\n    return f'frozen {trainer}'\n")
    importlib.invalidate_caches()
    assert load("given_hooks:freeze")("net") == "frozen net"
