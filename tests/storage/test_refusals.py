"""What a server allows: credentials that it does not know, rights of a user, and a bucket's policy."""

from __future__ import annotations

import json
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline.errors import StorageError, StorageUsageError
from sightline.storage import MissingObject, Transfer, WrongBytes, fetch_uri, open_store
from sightline.storage.s3 import S3Store
from tests.helpers.content import MIB, noise, sha
from tests.helpers.s3_server import S3Server
from tests.helpers.tcp_proxy import TcpProxy


@pytest.fixture
def become(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts another user's credentials into the environment."""

    def become(user: str) -> None:
        for name, value in s3_server.variables(user).items():
            monkeypatch.setenv(name, value)

    return become


@pytest.fixture
def policy(s3_server: S3Server, s3: str) -> Callable[..., str]:
    """Makes a bucket in which `policy(effect="Deny", prefix="packs/*", actions=[...])` holds for everybody."""

    def make(effect: str, prefix: str, *actions: str, whole: tuple[str, ...] = ()) -> str:
        bucket = f"bucket-{uuid.uuid4().hex}"
        s3_server.client().make_bucket(bucket)
        resources = {f"arn:aws:s3:::{bucket}/{prefix}": actions, f"arn:aws:s3:::{bucket}": whole}
        statements = [
            {"Effect": effect, "Principal": "*", "Action": [f"s3:{action}" for action in actions], "Resource": resource}
            for resource, actions in resources.items()
            if actions
        ]
        document = {"Version": "2012-10-17", "Statement": statements}
        s3_server.client().set_bucket_policy(bucket, json.dumps(document))
        return bucket

    return make


def test_missing_credentials_are_named(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StorageUsageError, match=r"set AWS_SECRET_ACCESS_KEY\.") as caught:
        open_store(f"s3://{s3}")
    assert "test-key" not in str(caught.value)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(StorageUsageError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        open_store(f"s3://{s3}")


@pytest.mark.parametrize(
    ("key", "secret", "words"),
    [
        ("test-key", "wrong-secret", "(SignatureDoesNotMatch): AWS_SECRET_ACCESS_KEY is not the one of"),
        ("unknown-key", "test-secret", "(InvalidAccessKeyId): it does not know AWS_ACCESS_KEY_ID. Correct it, or"),
    ],
)
def test_wrong_credentials_are_told_apart_and_never_shown(
    proxy: TcpProxy, s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str, secret: str, words: str
) -> None:
    open_store(f"s3://{s3}").put_bytes("key", b"bytes")
    (tmp_path / "file").write_bytes(b"file")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    unnamed = "(AccessDenied). Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"  # the answer to a HEAD has no words
    store = S3Store(f"s3://{s3}")
    uses: list[tuple[Callable[[], object], str]] = [
        (lambda: open_store(f"s3://{s3}"), words),
        (lambda: fetch_uri(f"s3://{s3}/key", tmp_path / "key", sha(b"bytes")), words),
        (lambda: fetch_uri(f"s3://{s3}/key", tmp_path / "key"), unnamed),
        (lambda: store.put_bytes("new", b""), words),
        (lambda: store.upload([Transfer("new", tmp_path / "file")]), unnamed),
        (lambda: store.delete(["key"]), words),
    ]
    for use, said in uses:
        proxy.requests.clear()
        with pytest.raises(StorageUsageError) as caught:
            use()
        assert len([text for text in proxy.requests if " HTTP/1.1" in text]) == 1, "a refusal is final: no retries"
        assert f"access refused by {proxy.address} {said}" in caught.value.message
        shown = "".join(traceback.format_exception(caught.value))
        assert not any(word in shown for word in (key, secret, "test-secret"))
    assert not (tmp_path / "key").exists()


def test_a_user_who_may_only_read_is_told_what_was_refused(
    s3: str, become: Callable[[str], None], tmp_path: Path
) -> None:
    open_store(f"s3://{s3}/lab").put_bytes("a", b"a")
    (tmp_path / "small").write_bytes(b"small")
    (tmp_path / "in parts").write_bytes(noise(6 * MIB))
    become("reader-key")
    store = open_store(f"s3://{s3}/lab")
    assert (store.get_bytes("a"), store.size("nothing"), list(store.list())) == (b"a", None, [("a", 1)])
    uses: dict[str, Callable[[], object]] = {
        "new": lambda: store.put_bytes("new", b"new"),
        "small": lambda: store.upload([Transfer("small", tmp_path / "small")]),
        "in parts": lambda: store.upload([Transfer("in parts", tmp_path / "in parts")]),
    }
    for key, use in uses.items():
        with pytest.raises(StorageUsageError, match=r"\(AccessDenied\)\. Check .* may do with the bucket") as caught:
            use()
        assert caught.value.message.startswith(f"s3://{s3}/lab/{key}: access refused by ")
    with pytest.raises(StorageError, match=r"2 objects below .* could not be deleted, among them lab/a \(AccessDenied"):
        store.delete(["a", "b"])
    assert list(store.list()) == [("a", 1)]
    with pytest.raises(WrongBytes, match="it was not kept"):  # and not that it was deleted there
        store.download([Transfer("a", tmp_path / "a", sha(b"b"))])


def test_one_who_may_read_objects_and_not_list_them_fetches_by_address(
    policy: Callable[..., str], become: Callable[[str], None], tmp_path: Path
) -> None:
    bucket = policy("Allow", "models/*", "GetObject")
    S3Store(f"s3://{bucket}").put_bytes("models/start.pt", b"weights")
    S3Store(f"s3://{bucket}").put_bytes("secret", b"secret")
    become("guest-key")
    for digest in (None, sha(b"weights")):
        found = fetch_uri(f"s3://{bucket}/models/start.pt", tmp_path / f"to {digest}", digest)
        assert found.read_bytes() == b"weights"
        with pytest.raises(MissingObject, match=r"models/nothing\.pt does not exist"):
            fetch_uri(f"s3://{bucket}/models/nothing.pt", tmp_path / "nothing", digest)
        with pytest.raises(StorageUsageError, match=rf"s3://{bucket}/secret: access refused by \S+ \(AccessDenied\)"):
            fetch_uri(f"s3://{bucket}/secret", tmp_path / "secret", digest)
    with pytest.raises(StorageUsageError, match=rf"^s3://{bucket}: access refused by \S+ \(AccessDenied\)"):
        open_store(f"s3://{bucket}")
    assert not (tmp_path / "secret").exists()


def test_a_bucket_that_keeps_what_it_has_takes_new_snapshots_and_refuses_to_lose_old_ones(
    policy: Callable[..., str], become: Callable[[str], None], tmp_path: Path
) -> None:
    bucket = policy("Allow", "*", "GetObject", "PutObject", whole=("ListBucket",))
    become("guest-key")
    store = open_store(f"s3://{bucket}")
    wrong = sha(b"other bytes")
    (tmp_path / "big").write_bytes(noise(6 * MIB))
    assert store.upload([Transfer("packs/big", tmp_path / "big")]) == 6 * MIB
    store.put_bytes(f"packs/{wrong}", b"damaged")
    with pytest.raises(StorageError, match=r"2 objects below .* could not be deleted, among them packs/big"):
        store.delete(["packs/big", f"packs/{wrong}"])
    with pytest.raises(WrongBytes, match="it was not kept"):
        store.download([Transfer(f"packs/{wrong}", tmp_path / "back", wrong)])
    assert [key for key, _ in store.list("packs/")] == sorted(["packs/big", f"packs/{wrong}"])


def test_a_policy_that_forbids_one_prefix_is_named_by_the_key_that_it_meets(
    policy: Callable[..., str], tmp_path: Path
) -> None:
    bucket = policy("Deny", "packs/*", "PutObject")
    store = open_store(f"s3://{bucket}")
    store.put_bytes("manifest.json", b"{}")
    (tmp_path / "pack").write_bytes(b"pack")
    with pytest.raises(StorageUsageError, match=rf"^s3://{bucket}/packs/a\.tar: access refused .* \(AccessDenied\)"):
        store.upload([Transfer("packs/a.tar", tmp_path / "pack")])
    assert list(store.list()) == [("manifest.json", 2)]
