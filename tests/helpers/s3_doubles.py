"""Servers that answer as an S3 server does on a bad day, or that are none."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar


@contextlib.contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve in this process, and give the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class WebPage(BaseHTTPRequestHandler):
    """A web page where an object store was expected."""

    status = 200
    body = ""
    asked = 0

    def do_GET(self) -> None:
        WebPage.asked += 1
        body = WebPage.body.encode()
        self.send_response(WebPage.status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class ScriptedS3(BaseHTTPRequestHandler):
    """An S3 server that gives the answers of its script, one after the other."""

    answers: ClassVar[list[tuple[int, str]]] = []
    asked: ClassVar[list[str]] = []

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        ScriptedS3.asked.append(f"{self.command} {self.path.partition('?')[0]}")
        status, body = ScriptedS3.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if body.startswith("<html") else "application/xml")
        self.send_header("ETag", '"0"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body.encode())

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def xml(code: str) -> str:
    return f"<Error><Code>{code}</Code><Message>hush</Message></Error>"


EMPTY = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>bucket</Name></ListBucketResult>'


class S3InMaintenance(ScriptedS3):
    """An S3 server that answers so many requests with a page and status 200 before it is itself again."""

    pages = 0
    held: ClassVar[dict[str, bytes]] = {}

    def _answer(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        key, _, query = self.path.partition("?")
        status, kind, body = 200, "application/xml", b""
        if page := S3InMaintenance.pages > 0:
            S3InMaintenance.pages -= 1
            kind, body = "text/html", b"<html><body>maintenance</body></html>"
        elif "location" in query:
            body = b"<LocationConstraint/>"
        elif self.command == "PUT":
            S3InMaintenance.held[key] = data
        elif key == "/bucket":
            body = EMPTY.encode()
        else:
            status, body = (200, S3InMaintenance.held[key]) if key in S3InMaintenance.held else (404, b"")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if not page:
            self.send_header("ETag", '"0"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = _answer  # noqa: N815


class S3OfAnotherTime(BaseHTTPRequestHandler):
    """An S3 server with one object, whose clock goes wrong by some seconds, or says nothing."""

    ahead = 0.0  # of this machine's clock, in seconds
    says_date = True
    age = 0.0  # seconds since the object was written

    def do_GET(self) -> None:
        written = datetime.fromtimestamp(time.time() + self.ahead - self.age, UTC)
        item = (
            f"<Contents><Key>cells/a.jpg</Key><LastModified>{written:%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
            '<ETag>"0"</ETag><Size>5</Size><StorageClass>STANDARD</StorageClass></Contents>'
        )
        body = EMPTY if "start-after" in self.path else EMPTY.replace("</Name>", f"</Name>{item}")
        data = (b"<LocationConstraint/>") if "location" in self.path else body.encode()
        self.send_response_only(200)
        if self.says_date:
            self.send_header("Date", formatdate(time.time() + self.ahead, usegmt=True))
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
