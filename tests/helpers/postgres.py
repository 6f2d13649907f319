"""A real PostgreSQL server in a folder of its own, reached through a socket in that folder alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.helpers.servers import wait_until

NOBODY = {"user": "nobody", "group": "nogroup", "extra_groups": ()}  # PostgreSQL refuses to run as root


def programs() -> Path | None:
    """Folder of the newest installed PostgreSQL, in which Debian keeps initdb; null if there is none."""
    debian = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").is_file()]
    found = shutil.which("initdb")
    return max(debian, key=lambda path: float(path.parent.name), default=Path(found).parent if found else None)


class Postgres:
    """One server, for the user `sightline`, who needs no password on this machine."""

    def __init__(self, programs: Path, folder: Path) -> None:
        """Make a database in `folder`."""
        self.programs, self.folder = programs, folder
        self.uri = f"postgresql+psycopg2://sightline@/postgres?host={folder}"
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._user = NOBODY
            shutil.chown(folder, "nobody", "nogroup")
        command = [programs / "initdb", "-D", folder / "data", "-U", "sightline", "-A", "trust", "-E", "UTF8", "-N"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, **self._user)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [self.programs / "postgres", "-D", self.folder / "data", "-k", self.folder, "-h", "", "-F"]
        log = self.folder / "server.log"
        with open(log, "ab") as file:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=file, stderr=file, **self._user)
        asking = [self.programs / "pg_isready", "-q", "-h", self.folder]
        wait_until(lambda: subprocess.run(asking).returncode == 0, self.process, seconds=60, log=log)

    def stop(self) -> None:
        """End it at once, with all its connections."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()


@contextlib.contextmanager
def postgres_serving(programs: Path) -> Iterator[Postgres]:
    """Run a PostgreSQL server; its folder is short, as a socket's path must be, and open to the user it runs as."""
    with tempfile.TemporaryDirectory(prefix="sightline-postgres-", dir="/tmp") as folder:
        server = Postgres(programs, Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()
