"""What object stores send when an object was written or removed: the addresses in it, and nothing else counts.

    {"Records": [{"s3": {"bucket": {"name": …}, "object": {"key": …}}}, …]}   MinIO, and S3 through what forwards it
    {"key": "/buckets/BUCKET/KEY", "event_type": …, "message": {…}}           SeaweedFS's filer, by its webhook
    {"detail": {"bucket": {"name": …}, "object": {"key": …}}}                 S3 through EventBridge

Keys of the first are URL-encoded with + for a space, those of the others are as they are.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote_plus

BUCKETS = "/buckets/"  # in which SeaweedFS's filer keeps what is reached by S3, beside folders of its own: .system
STAGED = ".uploads"  # in a bucket, the parts of an upload that goes on
EXPECTED = "expected an event of MinIO or S3 (Records), EventBridge (detail) or SeaweedFS's filer (key, event_type)"


def places(body: bytes) -> list[str]:
    """Return the addresses, `s3://bucket/key`, of what an event is about. Raises ValueError with a sentence."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError(f"The body is no JSON; {EXPECTED}.") from None
    try:
        return list(dict.fromkeys(_found(event)))
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"The body is none of the known kinds; {EXPECTED}.") from None


def _found(event: Any) -> list[str]:
    if "Records" in event:
        return [_place(record["s3"], unquote_plus) for record in event["Records"]]
    if "detail" in event:
        return [_place(event["detail"], str)]
    keys, message = [event["key"]], event.get("message") or {}
    if event["event_type"] == "rename":  # `key` is the old one
        keys.append(f"{message['new_parent_path']}/{message['new_entry']['name']}")
    paths = [key.removeprefix(BUCKETS).split("/") for key in keys if key.startswith(BUCKETS)]
    return [f"s3://{'/'.join(path)}" for path in paths if not path[0].startswith(".") and path[1:2] != [STAGED]]


def _place(part: Any, decoded: Any) -> str:
    bucket, key = part["bucket"]["name"], part["object"]["key"]
    if not isinstance(bucket, str) or not isinstance(key, str):
        raise TypeError
    return f"s3://{bucket}/{decoded(key)}"
