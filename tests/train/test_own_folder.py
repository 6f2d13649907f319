"""The folder of what a training keeps of its data: whose files are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sightline.train.own_folder import is_own, made_own


def test_a_folder_is_made_for_this_user_alone(tmp_path: Path) -> None:
    os.umask(before := os.umask(0))
    assert is_own(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700 & ~before
    assert is_own(tmp_path / "a" / "b")


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_may_write_is_not_trusted(tmp_path: Path, mode: int) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(mode)
    assert not is_own(tmp_path / "a")


def test_a_folder_of_another_user_and_a_link_are_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "own")
    assert not is_own(tmp_path / "link")
    if os.geteuid() != 0:
        pytest.skip("needs root to give a folder away")
    (tmp_path / "theirs").mkdir(mode=0o700)
    os.chown(tmp_path / "theirs", 65534, 65534)
    assert not is_own(tmp_path / "theirs")


def test_a_folder_that_a_group_may_write_is_made_anew(tmp_path: Path) -> None:
    """As the folders of a volume are once Kubernetes has given it to the group of a pod (`fsGroup`)."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "labels.cache").write_bytes(b"a pickle of somebody")
    (tmp_path / "a").chmod(0o2770)
    assert made_own(tmp_path / "a")
    assert list((tmp_path / "a").iterdir()) == []
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert not made_own(tmp_path / "link")
    (tmp_path / "file").write_text("")
    assert not made_own(tmp_path / "file")
