"""What Kubernetes' controllers say of an object: its events, which are kept for an hour."""

from __future__ import annotations

from sightline.cluster.api import Denied, Kubernetes, Object


def newest_warning(kubernetes: Kubernetes, kind: str, name: str) -> Object | None:
    """Return the newest warning about an object; None where there is none, or the account may not read events."""
    selector = f"involvedObject.kind={kind},involvedObject.name={name},type=Warning"
    try:
        found = list(kubernetes.items(kubernetes.path("events"), fieldSelector=selector))
    except Denied:
        return None
    return max(found, key=lambda event: str(event.get("lastTimestamp") or ""), default=None)
