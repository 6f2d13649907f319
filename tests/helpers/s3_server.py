"""A real S3 server, SeaweedFS, in a process of its own: it can be killed, and started again with what it holds."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import urllib3
from minio import Minio
from minio.deleteobjects import DeleteObject
from minio.error import MinioException

from tests.helpers.servers import wait_until

# Who may use it: secret and rights by key. The guest may do what a bucket's policy allows, the reader read as well.
USERS = {
    "test-key": ("test-secret", ["Admin"]),
    "reader-key": ("reader-secret", ["Read", "List"]),
    "guest-key": ("guest-secret", []),
}
BUCKET = "emptied"
PARTS = ("master", "filer", "volume", "s3", "admin")  # each listens on a port, and on the one GRPC above it
GRPC = 10_000
OWN_PORTS = range(12_000, 32_000 - GRPC, len(PARTS))  # below those that systems give to connections


class S3Server:
    """One server with its data in `folder`, always at the same address."""

    def __init__(self, folder: Path) -> None:
        """Choose its ports, and write down who may use it."""
        self.folder = folder
        self.environment: dict[str, str] = {}
        identities = [
            {"name": key, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": rights}
            for key, (secret, rights) in USERS.items()
        ]
        (folder / "users.json").write_text(json.dumps({"identities": identities}))
        (folder / "data").mkdir()
        self.ports = dict(zip(PARTS, free_ports(), strict=True))
        self.address = f"http://127.0.0.1:{self.ports['s3']}"

    def start(self) -> None:
        """Start the process; some seconds pass until it answers, and after `kill` until it knows all that it holds."""
        command = [
            *(str(Path(sys.executable).with_name("weed")), "-logtostderr", "mini"),
            *(f"-dir={self.folder}/data", f"-s3.config={self.folder}/users.json"),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            *(f"-{part}.port={port}" for part, port in self.ports.items()),
            *(f"-filer.localSocket={self.folder}/filer.sock", f"-s3.localSocket={self.folder}/s3.sock"),
            "-volume.max=1000",  # each bucket takes one: not as many as the disk has room for
            "-s3.autoCreateBucket=false",  # a bucket that is missing is an error, as it is elsewhere
            *("-master.telemetry=false", "-admin.ui=false", "-webdav=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
        ]
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env={**os.environ, **self.environment}, stdout=log, stderr=log
            )

    def send_events(self, address: str, token: str) -> None:
        """Send every change to this address, from the next start on."""
        names = {"ENABLED": "true", "ENDPOINT": address, "BEARER_TOKEN": token, "MAX_RETRIES": "0"}
        self.environment = {f"WEED_NOTIFICATION_WEBHOOK_{name}": value for name, value in names.items()}

    def wait(self) -> None:
        """Wait until it stores an object and gives it back."""
        wait_until(self._works, self.process, seconds=90, log=self.folder / "server.log")

    def kill(self) -> None:
        """End it at once, as a node that is lost; what it stored stays."""
        self.process.kill()
        self.process.wait()

    def remove(self) -> None:
        """Kill it, and remove what it leaves outside its folder: sockets, whose place cannot be chosen."""
        self.kill()
        for port in self.ports.values():
            for socket_file in Path("/tmp").glob(f"seaweedfs-*-{port + GRPC}.sock"):
                socket_file.unlink()

    def variables(self, user: str = "test-key") -> dict[str, str]:
        """The environment of one who uses it as this user."""
        secret, _ = USERS[user]
        keys = {"AWS_ACCESS_KEY_ID": user, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "us-east-1"}
        return {"SIGHTLINE_S3_ENDPOINT": self.address, **keys}

    def client(self) -> Minio:
        """A client with all rights that tries everything once."""
        http = urllib3.PoolManager(timeout=5, retries=False)
        netloc = self.address.removeprefix("http://")
        secret, _ = USERS["test-key"]
        return Minio(netloc, "test-key", secret, secure=False, region="us-east-1", http_client=http)

    def empty_bucket(self) -> str:
        """Name of a bucket with nothing in it: always the same, since the first write to a new one takes a second."""
        client = self.client()
        found = client.list_objects(BUCKET, recursive=True)
        left = list(client.remove_objects(BUCKET, [DeleteObject(each.object_name) for each in found]))
        assert not left, left
        return BUCKET

    def _works(self) -> bool:
        client = self.client()
        with contextlib.suppress(MinioException, urllib3.exceptions.HTTPError):
            if not client.bucket_exists(BUCKET):
                client.make_bucket(BUCKET)
            client.put_object(BUCKET, "ready", BytesIO(b"yes"), 3)
            with contextlib.closing(client.get_object(BUCKET, "ready")) as answer:
                return bool(answer.read() == b"yes")
        return False


@contextlib.contextmanager
def s3_serving(folder: Path, events_to: tuple[str, str] | None = None) -> Iterator[S3Server]:
    """Run an S3 server with its data in `folder`; it sends every change to this address, with this bearer token."""
    server = S3Server(folder)
    if events_to:
        server.send_events(*events_to)
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.remove()


def free_ports() -> range:
    """Find ports for all parts of one server."""
    while True:
        start = random.choice(OWN_PORTS)
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            for port in range(start, start + len(PARTS)):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                held.enter_context(socket.create_server(("127.0.0.1", port + GRPC)))
            return range(start, start + len(PARTS))
