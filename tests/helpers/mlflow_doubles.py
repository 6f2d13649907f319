"""A server that is not quite MLflow."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator

EXPERIMENT = {
    "experiment_id": "7",
    "name": "x",
    "artifact_location": "mlflow-artifacts:/7",
    "lifecycle_stage": "active",
}


MLFLOW = {"experiments/search": {"experiments": [EXPERIMENT]}, "experiments/get": {"experiment": EXPERIMENT}}


ODD: dict[str, tuple[int, str]] = {  # what a server may answer, and no MLflow does
    **{"empty": (200, ""), "no content": (204, ""), "list": (200, "[]"), "null": (200, "null"), "text": (200, '"hi"')},
    **{"number": (200, '{"experiments": 5}'), "other": (200, '{"experiments": [{"foo": 1}]}'), "object": (200, "{}")},
    **{"mute": (400, '{"message": null}'), "errors": (500, "[1, 2]"), "loop": (302, ""), "cut": (200, "{")},
}


class NotQuiteMlflow(http.server.BaseHTTPRequestHandler):
    """Answers /health as MLflow does and everything else as its server's `mode` says."""

    def answer(self) -> None:
        mode, healthy = self.server.mode, self.path == "/health"
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        known = next((answer for path, answer in MLFLOW.items() if path in self.path), None)
        if mode.startswith("later ") and not healthy:
            status, text = (200, json.dumps(known)) if "/search" in self.path and known else json.loads(mode[6:])
            self.send(status, text)
            return
        if mode.startswith("write ") and not healthy:
            status, text = (200, json.dumps(known)) if known else json.loads(mode[6:])
            self.send(status, text)
            return
        if mode == "close" and not healthy:
            self.close_connection = True
            return
        if mode in ODD and not healthy:
            self.send(*ODD[mode], cut=mode == "cut", to=self.path if mode == "loop" else None)
            return
        if mode == "hang" and not healthy:
            self.server.released.wait(60)
            return
        status, kind = (200 if healthy or mode == "page" else int(mode)), "application/json"
        body = b"OK" if healthy else json.dumps({"error_code": "INTERNAL_ERROR", "message": "no database"}).encode()
        if mode == "page":
            kind, body = "text/html", b"<html>Sign in</html>"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815

    def send(self, status: int, text: str, cut: bool = False, to: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if text.startswith("<") else "application/json")
        self.send_header("Content-Length", str(len(text) + 100 * cut))
        if to:
            self.send_header("Location", to)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def not_quite_mlflow(mode: str) -> Iterator[str]:
    """Run such a server, and give its address."""
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), NotQuiteMlflow)
    serving.daemon_threads = True
    serving.mode, serving.released = mode, threading.Event()
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{serving.server_port}"
    finally:
        serving.released.set()
        serving.shutdown()
        serving.server_close()
