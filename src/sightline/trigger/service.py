"""The web service: takes events, and says whether it works. Starlette on uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
import re
import signal
import socket
import sys
import threading
import time

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from sightline.errors import ConfigError, SightlineError
from sightline.runtime.stage_frame import moment
from sightline.runtime.terminal import visible
from sightline.trigger import events
from sightline.trigger.watch import Watching

log = logging.getLogger(__name__)

TOKEN = "SIGHTLINE_TRIGGER_TOKEN"
MOST = 8 << 20  # bytes of a body: SeaweedFS names up to ten thousand parts of a file, twice
PATIENCE = 10  # seconds for a body to arrive
CONNECTIONS = 1000
AGAIN, KINDS = 3600, 1000  # the same is logged once an hour, and so many kinds of it are told apart


class Stopped(SightlineError):
    """The thread that looks at prefixes has ended, by a fault of ours."""


class UTC(logging.Formatter):
    """A line for each record, with the time in UTC."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        """Write `2026-11-28T02:00:00.123+00:00`."""
        return moment(record.created)

    def format(self, record: logging.LogRecord) -> str:
        """Escape what would start another line, or steer a terminal: parts of it come from the network."""
        return visible(super().format(record))


def log_lines() -> None:
    """Send what is logged to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(UTC("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("sightline.trigger").setLevel(logging.INFO)


def token() -> str:
    """Return the secret that senders of events share with the service. Raises ConfigError."""
    word = os.environ.get(TOKEN, "").strip()
    if not re.fullmatch(r"[\x21-\x7e]+", word):
        found = "holds no token" if word else "is not set"
        raise ConfigError(
            f"{TOKEN} {found}: a secret of one word of ASCII characters, which whoever sends events sends too "
            "(Authorization: Bearer …). `openssl rand -hex 32` makes one."
        )
    return word


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 is any free one. Raises ConfigError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, port), family=family, dualstack_ipv6=both)
    except OSError as error:  # Python adds words of its own to those of the system
        why = (os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror)).lower()
        raise ConfigError(f"Cannot listen on port {port} of {host}: {why}. See --host and --port.") from None


def serve(watching: Watching, secret: str, at: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises Stopped if what looks at the prefixes has ended."""
    config = uvicorn.Config(
        app(watching, secret),
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",  # it warns of every request that is no HTTP
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    broken = threading.Event()

    def look() -> None:
        try:
            watching.run()
        except Exception:  # a fault of ours: Kubernetes starts the service again
            log.exception("a fault of Sightline ends the service")
            broken.set()
            server.should_exit = True

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # before and after uvicorn's own
    threading.Thread(target=look, daemon=True).start()
    host, port = at.getsockname()[:2]
    log.info("listens on http://%s:%d", f"[{host}]" if ":" in host else host, port)
    server.run(sockets=[at])
    if broken.is_set():
        raise Stopped("The service has ended by a fault of Sightline; its log has the reason.")


def app(watching: Watching, secret: str) -> Starlette:
    """Return the web application."""
    wanted = f"Bearer {secret}".encode()
    seldom = Seldom()

    async def take(request: Request) -> Response:
        """Take an event."""
        given = request.headers.get("authorization", "").encode("latin-1")
        if not hmac.compare_digest(given, wanted):
            sender = request.client.host if request.client else "somebody"
            seldom.warn(f"token {sender}", f"{sender} sent an event without the right secret: 401")
            return _refused(401, f"The secret is missing or wrong; expected that of {TOKEN}.")
        try:
            found = events.places(await _body(request))
        except ValueError as problem:
            return _refused(400, str(problem))
        except OverflowError:
            return _refused(413, f"The body is too large; expected no more than {MOST} bytes.")
        except TimeoutError:
            return _refused(408, f"The body did not arrive within {PATIENCE} seconds.")
        names, strange = watching.hint(found)
        for place in strange:
            part = "/".join(place.split("/")[:4])  # bucket, and the first part of the key
            seldom.warn(f"place {part}", f"an event for {place} fits no trigger")
        return JSONResponse({"triggers": sorted(names)}, 202)

    async def probe(_: Request) -> Response:
        """Answer MinIO, which asks whether somebody listens before it sends."""
        return Response()

    async def healthy(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def ready(_: Request) -> Response:
        if unready := watching.unready():
            return PlainTextResponse(f"the last look did not work, or is still to come: {', '.join(unready)}\n", 503)
        return PlainTextResponse("ok\n")

    return Starlette(
        routes=[
            Route("/events", take, methods=["POST"]),
            Route("/events", probe, methods=["HEAD"]),
            Route("/healthz", healthy),
            Route("/readyz", ready),
        ]
    )


class Seldom:
    """Logs what may come a thousand times a second, and at the wish of strangers, once an hour."""

    def __init__(self) -> None:
        """Know of nothing yet."""
        self._last: dict[str, float] = {}

    def warn(self, kind: str, words: str) -> None:
        """Log words unless something of the same kind was logged within the hour."""
        now = time.monotonic()
        if now - self._last.get(kind, -AGAIN) < AGAIN:
            return
        if len(self._last) >= KINDS:
            self._last = {kind: when for kind, when in self._last.items() if now - when < AGAIN}
            if len(self._last) >= KINDS:
                return
        self._last[kind] = now
        log.warning("%s", words)


async def _body(request: Request) -> bytes:
    """Read the body, as far as a sender who has gone has sent it. Raises OverflowError and TimeoutError."""
    body = b""
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(ClientDisconnect):
            async for part in request.stream():
                body += part
                if len(body) > MOST:
                    raise OverflowError
    return body


def _refused(status: int, words: str) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if status in (408, 413):
        headers["Connection"] = "close"
    return JSONResponse({"error": words}, status, headers)
