"""A service in front of a bucket of a real object store, and of a stand-in for Kubeflow Pipelines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from minio import Minio

from tests.helpers.kfp_stand_in import StandIn
from tests.helpers.s3_server import S3Server
from tests.helpers.trigger_service import Service, declare, serving


@pytest.fixture
def service(tmp_path: Path, kfp_server: StandIn, s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service, not started yet, whose trigger `cells` watches a prefix of the empty bucket."""
    monkeypatch.setenv("SIGHTLINE_STORE", f"s3://{s3}/store")
    declare(tmp_path, cells=f"s3://{s3}/cells")
    with serving(tmp_path) as found:
        yield found


@pytest.fixture
def client(s3_server: S3Server) -> Minio:
    return s3_server.client()
