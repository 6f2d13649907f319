"""A double of Kubernetes' API server: JSON objects over HTTP, what an account may do, and faults on purpose.

It keeps what a test adds and a client creates, and answers GET, lists (with equality selectors, page by page), POST and
DELETE as the real one does. It starts nothing: `on_create` and `on_request` say what a controller would do.
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

Object = dict[str, Any]
PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<part>[^/]+))?"
)
REVIEWS = ("selfsubjectaccessreviews", "localsubjectaccessreviews", "subjectaccessreviews")
VERBS = {"GET": "get", "POST": "create", "DELETE": "delete", "PATCH": "patch", "PUT": "update"}


class KubernetesDouble:
    """The state of a server, and what a test may change about it."""

    def __init__(self) -> None:
        self.address = ""
        self.token = "a-token"  # that a request must carry
        self.user = "ci"
        self.objects: dict[tuple[str, str], list[Object]] = {}  # by group and plural
        self.unknown: set[str] = set()  # groups, or group/version, that this server does not serve
        self.forbidden: set[str] = set()  # "verb plural", such as "list nodes" and "get pods/log": answered by 403
        self.rights: Callable[[str, Object], bool] = lambda user, attributes: True  # what a review says
        self.logs: dict[str, str] = {}  # by pod
        self.faults: dict[str, list[tuple[int, str] | str]] = {}  # by "METHOD /path": answers, "hang" or "drop"
        self.on_create: Callable[[KubernetesDouble, Object], None] = lambda server, created: None
        self.on_request: Callable[[KubernetesDouble], None] = lambda server: None
        self.requests: list[str] = []
        self.used: set[tuple[str, str, str, bool]] = set()  # rights: verb, group, plural, and whether of a namespace
        self.pages_of = 500

    def add(self, *objects: Object) -> None:
        """Keep objects; one of the same kind, namespace and name is replaced."""
        for item in objects:
            kept = self.objects.setdefault(_kind(item), [])
            kept[:] = [other for other in kept if _name(other) != _name(item)]
            kept.append(copy.deepcopy(item))

    def of(self, kind: str, group: str = "") -> list[Object]:
        """Return the objects of a kind."""
        return self.objects.get((group, plural_of(kind)), [])

    def kubeconfig(self, folder: Path, *, token: str | None = None, namespace: str = "kubeflow") -> Path:
        """Write a kubeconfig for this server; by default with the token that it accepts."""
        path = folder / "kubeconfig"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "double",
            "clusters": [{"name": "double", "cluster": {"server": self.address}}],
            "users": [{"name": "someone", "user": {"token": self.token if token is None else token}}],
            "contexts": [
                {"name": "double", "context": {"cluster": "double", "user": "someone", "namespace": namespace}}
            ],
        }
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path

    # --- how requests are answered

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        match = PATH.fullmatch(path)
        if match is None:
            return refusal(404, "the server could not find the requested resource")
        group, version = match["group"] or "", match["version"] or "v1"
        if {group, f"{group}/{version}"} & self.unknown:
            return refusal(404, "the server could not find the requested resource")
        plural, namespace, name = match["plural"], match["namespace"] or "", match["name"] or ""
        verb = "list" if method == "GET" and not name else VERBS[method]
        what = f"{plural}/{match['part']}" if match["part"] else plural
        self.used.add((verb, group, what, bool(namespace)))
        if f"{verb} {what}" in self.forbidden:
            where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
            who = f'{plural} is forbidden: User "{self.user}" cannot {verb} resource "{plural}" in API group "{group}"'
            return refusal(403, f"{who} {where}")
        if plural in REVIEWS:
            return 201, self._reviewed(body)
        if match["part"] == "log":
            found = name in self.logs
            return (200, self.logs[name]) if found else refusal(404, f'pods "{name}" not found')
        kept = self.objects.setdefault((group, plural), [])
        inside = [item for item in kept if not namespace or item["metadata"].get("namespace") == namespace]
        if verb == "list":
            return 200, self._listed(inside, query)
        if verb == "create":
            return self._created(body, namespace, inside)
        found_one = next((item for item in inside if item["metadata"]["name"] == name), None)
        if found_one is None:
            return refusal(404, f'{plural} "{name}" not found')
        if verb == "delete":
            kept.remove(found_one)
            self._collect(found_one)
        return 200, found_one

    def _reviewed(self, body: Object) -> Object:
        attributes, user = body["spec"]["resourceAttributes"], body["spec"].get("user", self.user)
        return body | {"status": {"allowed": bool(self.rights(user, attributes))}}

    def _listed(self, items: list[Object], query: dict[str, str]) -> Object:
        for word, wanted in _terms(query.get("labelSelector", "")):
            items = [item for item in items if _fits((item["metadata"].get("labels") or {}).get(word), wanted)]
        for word, wanted in _terms(query.get("fieldSelector", "")):
            items = [item for item in items if _fits(_field(item, word), wanted)]
        start, size = int(query.get("continue") or 0), min(int(query.get("limit") or self.pages_of), self.pages_of)
        more = {"continue": str(start + size)} if start + size < len(items) else {}
        return {"kind": "List", "metadata": more, "items": items[start : start + size]}

    def _created(self, body: Object, namespace: str, inside: list[Object]) -> tuple[int, Any]:
        created = copy.deepcopy(body)
        meta = created["metadata"]
        if any(_name(item)[1] == meta["name"] for item in inside):
            return refusal(409, f'{plural_of(body["kind"])} "{meta["name"]}" already exists')
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        meta |= {"namespace": namespace or None, "uid": f"uid-of-{meta['name']}", "creationTimestamp": now}
        self.add(created)
        self.on_create(self, created)
        return 201, created

    def _collect(self, owner: Object) -> None:
        """Remove what an object owned."""
        uid = owner["metadata"].get("uid")
        for kept in self.objects.values():
            kept[:] = [item for item in kept if not uid or uid not in _owners(item)]


def refusal(status: int, words: str) -> tuple[int, Object]:
    """Return an answer that is an error."""
    return status, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": words, "code": status}


def plural_of(kind: str) -> str:
    """Return the word for a kind in paths."""
    word = kind.lower()
    if word.endswith("y"):
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith("s") else f"{word}s"


def _kind(item: Object) -> tuple[str, str]:
    group, slash, _ = item["apiVersion"].partition("/")
    return (group if slash else ""), plural_of(item["kind"])


def _name(item: Object) -> tuple[str, str]:
    return item["metadata"].get("namespace") or "", item["metadata"]["name"]


def _owners(item: Object) -> list[str]:
    return [owner["uid"] for owner in item["metadata"].get("ownerReferences") or []]


def _terms(selector: str) -> Iterator[tuple[str, str | None]]:
    """Yield the terms of a selector: a word and its value (`!value` for another one), or None for any value."""
    for term in filter(None, selector.split(",")):
        word, equals, wanted = term.partition("=")
        yield word.rstrip("!"), ("!" if word.endswith("!") else "") + wanted.lstrip("=") if equals else None


def _fits(found: str | None, wanted: str | None) -> bool:
    if wanted is not None and wanted.startswith("!"):
        return found != wanted[1:]
    return found is not None if wanted is None else found == wanted


def _field(item: Object, path: str) -> str | None:
    value: Any = item
    for part in path.split("."):
        value = (value or {}).get(part)
    return value if value is None else str(value)


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
        state, parts = self.server.state, urlsplit(self.path)
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        with state_lock:
            state.requests.append(f"{method} {parts.path}")
            faults = state.faults.get(f"{method} {parts.path}")
            fault = faults.pop(0) if faults else None
        if fault == "hang":
            time.sleep(30)
        if fault == "drop":
            self.close_connection = True
            return
        if isinstance(fault, tuple):
            status, answer = refusal(*fault)
        elif self.headers.get("Authorization") != f"Bearer {state.token}":
            status, answer = refusal(401, "Unauthorized")
        else:
            with state_lock:
                state.on_request(state)
                status, answer = state.answer(method, parts.path, query, json.loads(data) if data else None)
        plain = isinstance(answer, str)
        sent = (str(answer) if plain else json.dumps(answer)).encode()
        with contextlib.suppress(OSError):  # the client of a hanging server has gone
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if plain else "application/json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)


state_lock = threading.Lock()


class ServerOf(ThreadingHTTPServer):
    """A server and its state."""

    daemon_threads = True
    block_on_close = False
    state: KubernetesDouble


@contextlib.contextmanager
def serving() -> Iterator[KubernetesDouble]:
    """Run a server, and give its state."""
    server = ServerOf(("127.0.0.1", 0), Handler)
    server.state = KubernetesDouble()
    server.state.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.state
    finally:
        server.shutdown()
        server.server_close()
