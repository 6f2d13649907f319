"""The S3 client: address and credentials from the environment, and connections that give a request its time."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import certifi
import urllib3
from minio import Minio

from sightline.errors import StorageUsageError
from sightline.storage.parallel import setting, transfers

CONNECT, ANSWER = 5, 60  # seconds for a connection; for a request to be sent, and for its answer to begin


def patience() -> int:
    """Return for how many seconds an outage is waited out."""
    return setting("SIGHTLINE_S3_WAIT", 120, 0)


def answer_time() -> int:
    """Return how many seconds a server has to answer: no more than an outage may take, within reason."""
    return min(ANSWER, max(10, patience()))


class Patient:
    """A connection that gives a request its full time: urllib3 counts sending as connecting, seconds for megabytes."""

    sock: Any

    def connect(self) -> None:
        """Connect, then allow more."""
        super().connect()  # type: ignore[misc]
        self.sock.settimeout(answer_time())


class PatientHTTP(Patient, urllib3.connection.HTTPConnection):
    """Over HTTP."""


class PatientHTTPS(Patient, urllib3.connection.HTTPSConnection):
    """Over HTTPS."""


class PoolHTTP(urllib3.HTTPConnectionPool):
    """Makes the first."""

    ConnectionCls = PatientHTTP


class PoolHTTPS(urllib3.HTTPSConnectionPool):
    """Makes the second."""

    ConnectionCls = PatientHTTPS


def endpoint() -> str:
    """Return the object store's address from the environment, `http(s)://host[:port]`. Raises StorageUsageError."""
    names = ("SIGHTLINE_S3_ENDPOINT", "AWS_ENDPOINT_URL")
    name = next((name for name in names if os.environ.get(name)), None)
    address = os.environ[name].rstrip("/") if name else "https://s3.amazonaws.com"
    if not re.fullmatch(r"https?://[^/@?#\s]+", address):  # not quoted: it may hold a password
        raise StorageUsageError(f"{name} is not an address; expected http://host:port or https://host, nothing more.")
    return address


def connect(address: str) -> Any:
    """Make a client with the environment's credentials. Raises StorageUsageError if there are none."""
    missing = [name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if not os.environ.get(name)]
    if missing:
        raise StorageUsageError(f"No credentials for the object store at {address}: set {' and '.join(missing)}.")
    parts = urlsplit(address)
    http = urllib3.PoolManager(
        maxsize=transfers(),
        timeout=urllib3.Timeout(connect=CONNECT, read=answer_time()),
        retries=False,
        cert_reqs="CERT_REQUIRED",
        ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
    )
    http.pool_classes_by_scheme = {"http": PoolHTTP, "https": PoolHTTPS}
    try:
        return Minio(
            parts.netloc,
            access_key=os.environ["AWS_ACCESS_KEY_ID"],
            secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
            session_token=os.environ.get("AWS_SESSION_TOKEN"),
            secure=parts.scheme == "https",
            region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
            http_client=http,
        )
    except ValueError as error:
        raise StorageUsageError(f"SIGHTLINE_S3_ENDPOINT {address} or AWS_REGION cannot be used: {error}.") from None


class Checked:
    """A file for minio, which reads it a part at a time; `check` is called before each, and may raise."""

    def __init__(self, file: BinaryIO, check: Callable[[], None]) -> None:
        """Read from `file`."""
        self.file, self.check = file, check

    def read(self, size: int) -> bytes:
        """Read the next part, or some of it."""
        self.check()
        return self.file.read(size)
