"""A server that speaks as much of Kubernetes' API as is asked of it: objects of one namespace, selectors, rights."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

TOKEN = "an-account"
Object = dict[str, Any]


class Double:
    """The state of a server, and what a test may change about it."""

    def __init__(self) -> None:
        self.address = ""
        self.objects: dict[str, list[Object]] = {}  # by plural
        self.denied: set[str] = set()  # plurals that the account may not see
        self.hangs = False
        self.logs: dict[str, str] = {}  # by pod
        self.requests: list[str] = []

    def kubeconfig(self, folder: Path, namespace: str = "kubeflow") -> Path:
        """Write what a user has of this cluster."""
        path = folder / "kubeconfig"
        user = {"name": "u", "user": {"token": TOKEN}}
        cluster = {"name": "c", "cluster": {"server": self.address}}
        context = {"name": "double", "context": {"cluster": "c", "user": "u", "namespace": namespace}}
        text = {"apiVersion": "v1", "kind": "Config", "current-context": "double"}
        path.write_text(yaml.safe_dump({**text, "users": [user], "clusters": [cluster], "contexts": [context]}))
        return path

    def answer(self, path: str, query: dict[str, str]) -> tuple[int, Object | str]:
        found = re.fullmatch(r"/apis?/(?:[\w.]+/)?v\w+(?:/namespaces/([\w-]+))?/(\w+)(?:/([\w.-]+))?(/log)?", path)
        if found is None:
            return 404, refusal(404, "the server could not find the requested resource")
        namespace, plural, name, log = found.groups()
        if plural in self.denied or (log and "log" in self.denied):
            what = f'{plural} is forbidden: User "u" cannot list resource "{plural}"'
            return 403, refusal(403, what)
        if log:
            return (200, self.logs[name]) if name in self.logs else (404, refusal(404, f'pods "{name}" not found'))
        there = [
            each
            for each in self.objects.get(plural, [])
            if namespace is None or each["metadata"].get("namespace", "kubeflow") == namespace
        ]
        if name:
            (each, *_) = [each for each in there if each["metadata"]["name"] == name] or [None]
            return (200, each) if each else (404, refusal(404, f'{plural} "{name}" not found'))
        return 200, {"kind": "List", "metadata": {}, "items": [each for each in there if selected(each, query)]}


def refusal(code: int, message: str) -> Object:
    return {"kind": "Status", "status": "Failure", "code": code, "message": message}


def selected(each: Object, query: dict[str, str]) -> bool:
    """Tell whether the selectors of a list take an object."""
    labels = each["metadata"].get("labels", {})
    for pair in filter(None, query.get("labelSelector", "").split(",")):
        name, _, value = pair.partition("=")
        if labels.get(name) != value:
            return False
    for pair in filter(None, query.get("fieldSelector", "").split(",")):
        name, _, value = pair.partition("=")
        field: Any = each
        for part in name.split("."):
            field = field.get(part, {})
        if field != value:
            return False
    return True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ServerOf

    def do_GET(self) -> None:
        state = self.server.state
        parts = urlsplit(self.path)
        state.requests.append(parts.path)
        if state.hangs:
            time.sleep(30)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            code, answer = 401, refusal(401, "Unauthorized")
        else:
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            code, answer = state.answer(parts.path, query)
        data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        with contextlib.suppress(OSError):  # who asked a hanging server has gone
            self.send_response(code)
            self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class ServerOf(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    state: Double


@contextlib.contextmanager
def serving() -> Iterator[Double]:
    """Run a server, and give its state."""
    server = ServerOf(("127.0.0.1", 0), Handler)
    server.state = Double()
    server.state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server.state
    finally:
        server.shutdown()
        server.server_close()
