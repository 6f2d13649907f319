"""The runs that a trigger starts: one for each state of its data, whatever is restarted or lost on the way.

Two places know what was submitted: a record in the store, and the names of the runs on the server, which hold the
digest of the data. A run is known by its name where the process ended between its start and the record; the record
stands where runs were deleted on the server.

    triggers/<name>.json     in the store
    trigger-<name>-<digest>  a run, with the first 12 digits of the digest
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError

from sightline.documents.base import Part, Sha256
from sightline.orchestrate import submit, versions
from sightline.orchestrate.kfp_api import OVER, Server
from sightline.storage import MissingObject, Store, open_store
from sightline.storage.s3 import S3Store
from sightline.trigger.listing import Listing
from sightline.trigger.trigger_file import Trigger

DIGITS = 12  # of the digest, in a run's name


class Submitted(Part):
    """The newest run that a trigger has started, as the store keeps it."""

    prefix: str
    digest: Sha256
    objects: int
    size_bytes: int
    run: str  # its name
    run_id: str
    created_at: datetime  # by the server's clock


@dataclass(frozen=True)
class Step:
    """What came of new data: a run that is started, one that is there already, or another one that is waited for."""

    done: Literal["started", "found", "waits"]
    run: Any  # KFP's record
    address: str  # in the dashboard


class Runs:
    """Starts runs of one compiled pipeline on one server, and keeps in the store what was started."""

    def __init__(
        self,
        sent: versions.Package,
        store: str,
        *,
        namespace: str | None,
        experiment: str | None,
        service_account: str | None,
    ) -> None:
        """Connect to nothing yet: servers that are away are waited for."""
        self._sent, self._store, self._namespace = sent, store, namespace
        self._experiment, self._service_account = experiment, service_account
        self._server: Server | None = None

    def reach(self) -> Server:
        """Return the server. Raises ConfigError, ClusterUsageError and ClusterError."""
        self._server = self._server or Server(self._namespace)
        return self._server

    def last(self, trigger: Trigger) -> Submitted | None:
        """Return what was submitted last, as the store has it; None without a readable record. Raises StorageError."""
        try:
            return Submitted.model_validate_json(self._open().get_bytes(_key(trigger)))
        except (MissingObject, ValidationError):
            return None

    def submit(self, trigger: Trigger, seen: Listing, last: Submitted | None) -> Step:
        """Start the run for what was seen, unless there is one, or another one of this trigger goes on.

        Raises ConfigError, ClusterUsageError and ClusterError; the next call goes on where it stopped.
        """
        server, name = self.reach(), run_name(trigger, seen)
        ours = re.compile(re.escape(run_name(trigger)) + f"[0-9a-f]{{{DIGITS}}}")
        known = [run for run in server.runs_with(run_name(trigger)) if ours.fullmatch(run.display_name or "")]
        found = next((run for run in _newest(known, last) if run.display_name == name), None)
        busy = next((run for run in known if run.state not in OVER), None)
        if there := found or busy:
            return Step("found" if found else "waits", there, server.run_address(there.run_id))
        order = submit.order(
            self._sent,
            trigger.run,
            name=name,
            experiment=self._experiment,
            service_account=self._service_account,
        )
        started = submit.start(server, versions.upload(server, self._sent).version, order)
        return Step("started", started, server.run_address(started.run_id))

    def keep(self, trigger: Trigger, seen: Listing, run: Any) -> None:
        """Record the run for what was seen; `run` is KFP's record. Raises StorageError."""
        record = Submitted(
            prefix=trigger.prefix,
            digest=seen.digest,
            objects=seen.objects,
            size_bytes=seen.size,
            run=run.display_name,
            run_id=run.run_id,
            created_at=run.created_at,
        )
        self._open().put_bytes(_key(trigger), record.model_dump_json(indent=2).encode())

    def _open(self) -> Store:
        """Return the store; an outage is not waited out."""
        return S3Store(self._store).impatient() if self._store.startswith("s3://") else open_store(self._store)


def run_name(trigger: Trigger, seen: Listing | None = None) -> str:
    """Return the name of the run for what was seen; without that, the beginning of all names of a trigger's runs."""
    return f"trigger-{trigger.name}-{seen.digest[:DIGITS] if seen else ''}"


def _newest(known: list[Any], last: Submitted | None) -> list[Any]:
    """Return the newest of the runs that the record knows nothing of; those of one second are equally new.

    An older run for the same digest was one before the data changed, and changed back.
    """
    later = [run for run in known if last is None or (run.created_at >= last.created_at and run.run_id != last.run_id)]
    newest = max((run.created_at for run in later), default=None)
    return [run for run in later if run.created_at == newest]


def _key(trigger: Trigger) -> str:
    return f"triggers/{trigger.name}.json"
