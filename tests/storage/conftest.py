"""What the tests of the object store share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sightline.storage.patience import Outage
from tests.helpers.s3_doubles import ScriptedS3, serving
from tests.helpers.s3_server import S3Server
from tests.helpers.tcp_proxy import TcpProxy


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.server)])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of either kind, so that both keep the same promises."""
    if request.param == "file":
        return f"file://{tmp_path}/a store with 100%25/inside"
    return f"s3://{request.getfixturevalue('s3')}/a prefix/inside"


@pytest.fixture
def proxy(s3: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[TcpProxy]:
    proxy = TcpProxy(s3_server.address)
    monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", proxy.address)
    yield proxy
    proxy.down()


@pytest.fixture
def no_known_outage() -> None:
    """Forget what this process knows of servers: a port may be used twice."""
    Outage._known.clear()


@pytest.fixture
def scripted(s3: str, no_known_outage: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[ScriptedS3]]:
    ScriptedS3.asked.clear()
    with serving(ScriptedS3) as address:
        monkeypatch.setenv("SIGHTLINE_S3_ENDPOINT", address)
        yield ScriptedS3
