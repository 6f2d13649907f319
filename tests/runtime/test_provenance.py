"""Where a result comes from: a digest that notices every change of the code, and the commit of a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sightline
from sightline.runtime import provenance

SOURCE = Path(sightline.__file__).parent


def said(folder: Path, what: str) -> str:
    """What the code in a folder says of itself."""
    code = f"from sightline.runtime import provenance; print(provenance.{what})"
    environment = {**os.environ, "PYTHONPATH": str(folder / "src")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_change_in_any_room_changes_the_digest_of_the_code(tmp_path: Path) -> None:
    shutil.copytree(SOURCE, tmp_path / "src" / "sightline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(SOURCE.parents[1] / "images", tmp_path / "images")
    digests = [said(tmp_path, "code_digest('train')")]
    assert digests == [provenance.code_digest("train")], "wherever the code lies"
    for module in ("errors.py", "train/launch.py"):
        with (tmp_path / "src" / "sightline" / module).open("a") as file:
            file.write("# changed\n")
        digests.append(said(tmp_path, "code_digest('train')"))
    assert len(set(digests)) == 3


def test_in_a_container_the_list_of_the_image_counts_and_elsewhere_what_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(SOURCE, tmp_path / "src" / "sightline", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(SOURCE.parents[1] / "images", tmp_path / "images")

    def digests() -> list[str]:
        return [said(tmp_path, f"code_digest('{image}')") for image in ("train", "infer")]

    installed = digests()
    assert installed[0] != installed[1]
    monkeypatch.setenv("SIGHTLINE_IMAGE", "sightline-data:1.0")
    assert digests() == installed, "the lists name what is installed here"
    for image in ("train", "infer"):
        path = tmp_path / "images" / image / "requirements.lock"
        path.write_text(path.read_text().replace("numpy==", "numpy==9."))
    listed = digests()
    assert not set(listed) & set(installed)
    monkeypatch.delenv("SIGHTLINE_IMAGE")
    assert digests() == installed, "what a list says changes nothing that runs outside the images"


def test_the_commit_of_a_checkout_is_named_and_whether_files_differ(tmp_path: Path) -> None:
    shutil.copytree(SOURCE, tmp_path / "src" / "sightline", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".gitignore").write_text("__pycache__\n")

    def git(*words: str) -> str:
        names = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(["git", "-C", str(tmp_path), *names, *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert said(tmp_path, "git_commit()") == "None"
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "all")
    commit = git("rev-parse", "HEAD")
    assert said(tmp_path, "git_commit()") == commit
    (tmp_path / "new").touch()
    assert said(tmp_path, "git_commit()") == f"{commit}-dirty"
