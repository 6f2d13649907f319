"""The channel between supervisors: one HTTP request for each message, answered by node 0 at once."""

from __future__ import annotations

import contextlib
import http.client
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from pydantic import ValidationError

from sightline.errors import ConfigError
from sightline.train.nodes.messages import LARGEST, PATH, Beat, Orders

Hear = Callable[[Beat], Orders]
Told = Callable[[Beat, Orders], None]


class Server(socketserver.ThreadingTCPServer):
    """Answers the other nodes until it is closed."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, hear: Hear, told: Told) -> None:
        """Listen on all addresses of this machine: `hear` answers a message, `told` learns that the answer is out.

        Raises ConfigError if the port is taken.
        """
        super().__init__(("", port), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = _listening(port)
        self.hear, self.told = hear, told
        self.local: str | None = None  # our address in the network of the nodes, as soon as one of them has asked
        threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report what is wrong with us; a connection that broke is none of that: the node asks again."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _listening(port: int) -> socket.socket:
    """Return a socket that listens on all addresses, of IPv6 too where the machine has it."""
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):  # switched off; a taken port is found below, too
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)
    try:
        return socket.create_server(("", port), backlog=128)
    except OSError as error:
        raise ConfigError(
            f"--master-port: node 0 cannot listen on {port} ({error.strerror}). Perhaps another training has it: give "
            "all nodes of this one another port."
        ) from None


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = 10  # seconds that a client may take to say something

    def do_POST(self) -> None:
        """Answer one message."""
        size = self.headers.get("Content-Length", "")
        if self.path != PATH or not size.isdecimal() or int(size) > LARGEST:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        try:
            beat = Beat.model_validate_json(self.rfile.read(int(size)))
        except ValidationError:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        local = str(self.connection.getsockname()[0])
        if self.server.local is None or not is_loopback(local):
            self.server.local = local
        orders = self.server.hear(beat)
        body = orders.model_dump_json().encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        self.server.told(beat, orders)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: there is a message every second."""


def is_loopback(address: str) -> bool:
    """Tell whether an address reaches this machine alone."""
    return address.removeprefix("::ffff:").startswith("127.") or address == "::1"


class NoAnswer(Exception):
    """Node 0 cannot be reached, or something else answers there; the text says which."""


class OtherVersion(Exception):
    """Node 0 does not understand the message."""


class Client:
    """Asks node 0."""

    def __init__(self, address: str, port: int, timeout: float) -> None:
        """`timeout` is in seconds; the address is resolved again after each failure, as node 0 may have moved."""
        self.address, self.port, self.timeout = address, port, timeout
        self.local: str | None = None  # our address in the network that leads to node 0
        self._peer: str | None = None

    def ask(self, beat: Beat) -> Orders:
        """Send one message and return the answer. Raises NoAnswer or OtherVersion."""
        connection = http.client.HTTPConnection(self._peer or self.address, self.port, timeout=self.timeout)
        try:
            connection.request("POST", PATH, beat.model_dump_json().encode(), {"Content-Type": "application/json"})
            peer, local = connection.sock.getpeername()[0], connection.sock.getsockname()[0]
            response = connection.getresponse()
            body = response.read(LARGEST + 1)
            if response.status == HTTPStatus.BAD_REQUEST:
                raise OtherVersion
            if response.status != HTTPStatus.OK:
                raise NoAnswer(f"something answers there with HTTP {response.status} that is no node 0 of a training")
            orders = Orders.model_validate_json(body)
        except (NoAnswer, OSError, http.client.HTTPException, ValidationError) as error:
            self._peer = None
            raise NoAnswer(_why(error)) from None
        finally:
            connection.close()
        self._peer, self.local = peer, local
        return orders


def _why(error: Exception) -> str:
    if isinstance(error, NoAnswer):
        return str(error)
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return "something answers there that is no node 0 of a training"
