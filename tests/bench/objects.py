"""A way to an S3 server that is as long as to another building, and counts what is on it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

LATENCY = 0.02  # seconds that the proxy adds to each answer


class Flight:
    """The requests under way: `seen` grows by their number each time one begins."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self._lock = threading.Lock()
        self._now = 0

    def change(self, step: int) -> None:
        with self._lock:
            self._now += step
            if step > 0:
                self.seen.append(self._now)


@contextlib.contextmanager
def proxy(port: int) -> Iterator[tuple[str, list[int]]]:
    """Pass connections on, answers late; yields the address, and a list of how many requests were under way."""
    flight = Flight()
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)

    def forth(client: socket.socket, upstream: socket.socket, asked: threading.Event) -> None:
        with contextlib.suppress(OSError), client, upstream:
            while data := client.recv(1 << 16):
                if not asked.is_set():
                    asked.set()
                    flight.change(1)
                upstream.sendall(data)

    def back(client: socket.socket, upstream: socket.socket, asked: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := upstream.recv(1 << 16):
                if asked.is_set():  # the first bytes of an answer
                    time.sleep(LATENCY)
                    flight.change(-1)
                    asked.clear()
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                client, _ = listener.accept()
                ends = client, socket.create_connection(("127.0.0.1", port)), threading.Event()
                for way in (forth, back):
                    threading.Thread(target=way, args=ends, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", flight.seen
    finally:
        listener.close()
