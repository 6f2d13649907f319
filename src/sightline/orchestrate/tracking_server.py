"""Serves the embedded tracking database to the containers of a run.

The data image holds MLflow's client alone, as on a cluster; the server is this machine's own MLflow, on the loopback
interface, for the length of the run. It starts beside the first stages, so that nothing waits for it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from sightline.config import RegisterConfig
from sightline.errors import TrackingError
from sightline.tracking import address, check, embedded
from sightline.tracking.reach import no_answer_reason
from sightline.tracking.server import QUIET_SETTINGS

START_SECONDS = 180  # 3 s on an idle machine; it imports MLflow twice, beside a training that takes all cores
SETTINGS = {**QUIET_SETTINGS, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}


class TrackingServer:
    """A server that is starting or has started, at `url`."""

    def __init__(self, uri: str, folder: Path) -> None:
        """Start a server for the SQLite database at `uri`, which keeps its log in `folder`."""
        file = address.database(uri)
        assert file
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.uri, self.url, self.log = uri, f"http://127.0.0.1:{port}", folder / "mlflow-server.log"
        command = [
            *(sys.executable, "-m", "sightline.tracking.serve", uri),
            *("--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--no-serve-artifacts"),
            # Files go where they do without a server: straight into the folder beside the database.
            *("--default-artifact-root", (file.parent / "mlartifacts").as_uri()),
        ]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **SETTINGS},
                start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until the server answers. Raises TrackingError if it ended, or does not answer in time."""
        deadline = time.monotonic() + START_SECONDS
        while no_answer_reason(self.url):
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                reason = next((line for line in reversed(said) if "Error" in line), "no reason given")
                raise TrackingError(
                    f"The server for the embedded tracking database {address.redact(self.uri)} did not start: {reason} "
                    f"(its log is {self.log})."
                )
            time.sleep(0.1)

    def stop(self) -> None:
        """End the server and its worker."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def problems(runs: Path, config: RegisterConfig) -> list[str]:
    """Say why the databases that a run would use cannot be served: what validate finds where it can open them."""
    uri = address.tracking_uri(runs)
    if uri is None:
        return []
    registry = address.registry_uri(uri)
    if registry and address.database(registry):
        return [
            f"{address.REGISTRY} is '{address.redact(registry)}', a database, and containers hold only the client of a "
            "server. Unset it, or name the http:// address of a server."
        ]
    if address.scheme(uri) != "sqlite":
        return []
    return embedded.problems(uri, config) or (check.of_database(uri) if embedded.is_older(uri) else [])


@contextlib.contextmanager
def serving(runs: Path, folder: Path) -> Iterator[TrackingServer | None]:
    """Serve the tracking database of `runs` while the block runs; None where tracking is a server already, or off."""
    uri = address.tracking_uri(runs)
    if uri is None or address.database(uri) is None:
        yield None
        return
    server = TrackingServer(uri, folder)
    try:
        yield server
    finally:
        server.stop()
