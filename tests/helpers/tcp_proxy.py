"""A TCP connection that can be slow, cut and down."""

from __future__ import annotations

import contextlib
import socket
import threading
import time


class TcpProxy:
    """Carries so many bytes a second between a client and a server, can be cut after some, and goes down and up."""

    def __init__(self, address: str, rate: float = 1e12, cut_after: int | None = None) -> None:
        self.target = address.removeprefix("http://").split(":")
        self.rate, self.cut_after = rate, cut_after
        self.up_rate = 1e12
        self.cut_each = False
        self.cuts = 0
        self.requests: list[str] = []
        self.open: list[socket.socket] = []
        self.port = 0
        self.up()
        self.address = f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        """Take connections."""
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def down(self) -> None:
        """Refuse connections, and break those that there are."""
        for each in (self.listener, *self.open):
            _end(each)
        self.open.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                try:
                    server = socket.create_connection((self.target[0], int(self.target[1])))
                except OSError:  # the server is away
                    client.close()
                    continue
                self.open += (client, server)
                threading.Thread(target=self._up, args=(client, server), daemon=True).start()
                threading.Thread(target=self._down, args=(server, client), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                self.requests.append(data.decode("latin-1"))
                server.sendall(data)
                time.sleep(len(data) / self.up_rate)
        _end(server)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        sent = 0
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
                sent += len(data)
                time.sleep(len(data) / self.rate)
                if self.cut_after is not None and sent > self.cut_after:
                    self.cut_after = self.cut_after if self.cut_each else None
                    self.cuts += 1
                    break
        _end(client)


def _end(connection: socket.socket) -> None:
    """Close a connection in whatever state; closing alone would leave a thread that waits for it, and its peer."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
