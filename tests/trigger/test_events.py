"""The addresses in what object stores send."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sightline.trigger import events

# As MinIO's webhook sends it (RELEASE.2025), without what nothing depends on.
MINIO = {
    "EventName": "s3:ObjectCreated:Put",
    "Key": "data/cells/a b+ü.jpg",
    "Records": [
        {
            "eventVersion": "2.0",
            "eventSource": "minio:s3",
            "eventTime": "2026-11-28T02:00:00.000Z",
            "eventName": "s3:ObjectCreated:Put",
            "s3": {
                "s3SchemaVersion": "1.0",
                "bucket": {"name": "data", "arn": "arn:aws:s3:::data"},
                "object": {"key": "cells%2Fa+b%2B%C3%BC.jpg", "size": 5, "eTag": "5d41402abc4b2a76b9719d911017c592"},
            },
        }
    ],
}
# Amazon's leaves slashes as they are; two records, one object.
S3 = {
    "Records": [
        {"eventSource": "aws:s3", "s3": {"bucket": {"name": "data"}, "object": {"key": "cells/a+b%2B%C3%BC.jpg"}}},
        {"eventSource": "aws:s3", "s3": {"bucket": {"name": "data"}, "object": {"key": "cells/a+b%2B%C3%BC.jpg"}}},
    ]
}
EVENT_BRIDGE = {
    "version": "0",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "resources": ["arn:aws:s3:::data"],
    "detail": {"version": "0", "bucket": {"name": "data"}, "object": {"key": "cells/a b+ü.jpg", "size": 5}},
}


def weed(key: str, kind: str = "create", **message: Any) -> dict[str, Any]:
    """What SeaweedFS 4.48 sends, without attributes."""
    return {"event_type": kind, "key": key, "message": {"signatures": [-572512792], **message}}


@pytest.mark.parametrize(
    ("event", "found"),
    [
        (MINIO, ["s3://data/cells/a b+ü.jpg"]),
        (S3, ["s3://data/cells/a b+ü.jpg"]),
        (EVENT_BRIDGE, ["s3://data/cells/a b+ü.jpg"]),
        (weed("/buckets/data/cells/a b+ü.jpg"), ["s3://data/cells/a b+ü.jpg"]),
        (weed("/buckets/data/cells/gone.jpg", "delete"), ["s3://data/cells/gone.jpg"]),
        (
            weed(
                "/buckets/data/old/a.jpg", "rename", new_parent_path="/buckets/data/cells", new_entry={"name": "b.jpg"}
            ),
            ["s3://data/old/a.jpg", "s3://data/cells/b.jpg"],
        ),
        (weed("/buckets/data"), ["s3://data"]),
        (weed("/buckets/data/.uploads/06/0001.part"), []),
        (weed("/buckets/.system/owners/key/data"), []),
        (weed("/etc/iam/identity.json"), []),
        ({"Records": []}, []),
    ],
)
def test_objects_are_known_by_their_addresses(event: Any, found: list[str]) -> None:
    assert events.places(json.dumps(event).encode()) == found
    assert events.places(json.dumps(event, ensure_ascii=False).encode()) == found


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"\xff", b"{", b"[" * 100_000, b"null", b"[]", b"7", b'"Records"', b"{}"),
        *(b'{"Records": [{}]}', b'{"Records": 3}', b'{"Records": null}', b'{"detail": null}'),
        b'{"Records": [{"s3": {"bucket": {"name": 1}, "object": {"key": "a"}}}]}',
        b'{"detail": {"bucket": "data", "object": "cells"}}',
        *(b'{"key": "/buckets/data/a"}', b'{"key": 3, "event_type": "create"}', b'{"event_type": "create"}'),
        *(b'{"key": "/buckets/a/b", "event_type": "rename"}', b'{"Service": "Amazon S3", "Event": "s3:TestEvent"}'),
    ],
)
def test_any_other_body_is_refused_in_a_sentence(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"^The body is .*; expected an event of MinIO or S3 \(Records\), EventBridge"):
        events.places(body)
