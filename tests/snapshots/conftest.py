"""What the tests of snapshots share."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.storage import Store, open_store


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.server)])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store of either kind."""
    return open_store(f"s3://{request.getfixturevalue('s3')}/in" if request.param == "s3" else f"{tmp_path}/store")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"{tmp_path}/store")
