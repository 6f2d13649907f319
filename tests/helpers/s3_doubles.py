"""Servers that answer as an S3 server does on a bad day, or that are none."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
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
