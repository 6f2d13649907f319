"""A registry of images that wants a token, as the public ones do: version 2 of Docker's registry API."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Registry(ThreadingHTTPServer):
    """Has some images; a login, `user:password` in base64, where it does not let everybody in."""

    daemon_threads = True
    login = ""
    have: frozenset[str] = frozenset()  # paths of manifests: repository/manifests/tag


class Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_HEAD(self) -> None:
        path = urlsplit(self.path).path.removeprefix("/v2/")
        if self.headers.get("Authorization") != "Bearer let-in":
            self.send_response(401)
            port = self.server.server_port
            realm = f'Bearer realm="http://127.0.0.1:{port}/token",service="r",scope="repository:x:pull"'
            self.send_header("WWW-Authenticate", realm)
        else:
            self.send_response(200 if path in self.server.have else 404)
        self.end_headers()

    def do_GET(self) -> None:
        allowed = not self.server.login or self.headers.get("Authorization") == f"Basic {self.server.login}"
        body = b'{"token": "let-in"}' if allowed else b"{}"
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def registry_serving(*have: str, login: str = "") -> Iterator[str]:
    """Run a registry that has these manifests, and give its host and port."""
    server = Registry(("127.0.0.1", 0), Handler)
    server.have, server.login = frozenset(have), login
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
