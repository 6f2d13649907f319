"""What the tests of tracking share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from tests.helpers.mlflow_doubles import not_quite_mlflow


@pytest.fixture
def fake() -> Iterator[Callable[[str], str]]:
    """Starts a server that is not quite MLflow, and gives its address."""
    with contextlib.ExitStack() as started:
        yield lambda mode: started.enter_context(not_quite_mlflow(mode))
