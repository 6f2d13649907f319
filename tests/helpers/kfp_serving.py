"""The HTTP of the stand-in for KFP: requests, errors as KFP and its gateway write them, and faults on purpose."""

from __future__ import annotations

import contextlib
import email
import email.policy
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.helpers.kfp_stand_in import Refusal, StandIn

CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 429: 8, 500: 13}  # gRPC's, which the gateway answers beside HTTP's


class Handler(BaseHTTPRequestHandler):
    """Reads a request, asks the state, and writes the answer."""

    protocol_version = "HTTP/1.1"
    server: ServerOf

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def _answer(self, method: str) -> None:
        state = self.server.state
        parts = urlsplit(self.path)
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        state.requests.append(f"{method} {parts.path}")
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        try:
            if state.token and self.headers.get("Authorization") != f"Bearer {state.token}":
                raise Refusal(401, "Failed to check authorization. User identity is empty in the request header")
            if faults := state.faults.get(f"{method} {parts.path}"):
                fault = faults.pop(0)
                if fault == "none":  # this one is answered as usual
                    pass
                elif fault == "hang":
                    time.sleep(30)
                elif fault == "lost":  # what was asked for is done, and its answer does not arrive
                    state.answer(method, parts.path, query, self._body(data))
                    self.close_connection = True
                    return
                elif fault == "drop":
                    self.close_connection = True
                    return
                elif isinstance(fault, tuple):
                    raise Refusal(*fault)
                else:
                    self._send(200, fault.encode(), "text/html")
                    return
            answer = state.answer(method, parts.path, query, self._body(data))
        except Refusal as refusal:
            self._send(refusal.status, self._error(parts.path, refusal), "application/json")
            return
        text = answer if isinstance(answer, str) else json.dumps(state.write(answer))
        self._send(200, text.encode(), "application/json")

    def _body(self, data: bytes) -> Any:
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("multipart/"):
            head = f"Content-Type: {kind}\r\n\r\n".encode()
            message = email.message_from_bytes(head + data, policy=email.policy.HTTP)
            return next(part.get_payload(decode=True).decode() for part in message.iter_parts())
        return json.loads(data) if data else None

    def _error(self, path: str, refusal: Refusal) -> bytes:
        """Uploads are answered by KFP itself, all else by the gateway before it."""
        if "/upload" in path:
            return json.dumps({"error_message": refusal.words, "error_details": refusal.words}).encode()
        code = CODES.get(refusal.status, 2)
        inner = {"@type": "type.googleapis.com/google.rpc.Status", "code": code, "message": refusal.words}
        outer = f"Failed, and a stack of causes: {refusal.words}"
        return json.dumps({"code": code, "message": outer, "error": outer, "details": [inner]}).encode()

    def _send(self, status: int, data: bytes, kind: str) -> None:
        with contextlib.suppress(OSError):  # the client of a hanging server has gone
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)


class ServerOf(ThreadingHTTPServer):
    """A server and its state."""

    daemon_threads = True
    block_on_close = False
    state: StandIn


@contextlib.contextmanager
def serving() -> Iterator[StandIn]:
    """Run a server, and give its state."""
    server = ServerOf(("127.0.0.1", 0), Handler)
    server.state = StandIn()
    server.state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.state
    finally:
        server.shutdown()
        server.server_close()
