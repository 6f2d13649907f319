"""A store in an S3 bucket, through `minio`.

The client's own HTTP layer would retry for minutes and say nothing, so its retries are off, and every call goes through
`S3Store._retry`. Messages name codes and addresses, never what a server said in its own words: servers quote
access keys and signatures.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from copy import copy
from email.utils import parsedate_to_datetime
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import urllib3
from minio.deleteobjects import DeleteObject
from minio.error import MinioException, S3Error
from minio.helpers import MIN_PART_SIZE

from sightline.errors import StorageError, StorageUsageError
from sightline.storage.answers import (
    ADVICE,
    BUSY,
    UNREADABLE,
    Busy,
    NotS3,
    code_of,
    full,
    may_pass,
    nameless,
    reason,
    refused,
)
from sightline.storage.base import CHUNK, MissingObject, Store, Stored, check_key, go_on
from sightline.storage.client import Checked, connect, endpoint, patience
from sightline.storage.patience import Outage, Patience
from sightline.storage.s3_address import bucket_and_prefix

Result = TypeVar("Result")
PAGE = 1000  # keys per request to list or delete, the most that S3 takes
NAMELESS = 3  # seconds to try for where a server's name is unknown and it has never answered: a mistake, most likely


class S3Store(Store):
    """Keys are objects below one prefix of a bucket."""

    def __init__(self, uri: str) -> None:
        """Take `s3://bucket/prefix`; connects to nothing yet. Raises StorageUsageError."""
        self.bucket, self.prefix = bucket_and_prefix(uri)
        self.uri = f"s3://{self.bucket}/{self.prefix}".rstrip("/")
        self.address = endpoint()
        self.wait = patience()
        self._outage = Outage.of(self.address, self.wait)
        self._client = connect(self.address)

    def impatient(self) -> S3Store:
        """Return this store for requests that are not tried again."""
        other = copy(self)
        other.wait = 0
        return other

    def check(self) -> None:
        """Ask for the bucket. Raises StorageUsageError if it is missing or refused, StorageError without an answer."""
        self._retry(lambda: next(self._client.list_objects(self.bucket, prefix=self.prefix), None))

    def clock(self) -> float | None:
        """Return the time by the server's clock, in seconds since 1970; None where its answers carry none."""
        query = {"list-type": "2", "prefix": self.prefix, "max-keys": "1"}  # takes no more rights than `entries`
        answer = self._retry(lambda: self._client._execute("GET", self.bucket, query_params=query))
        with contextlib.suppress(ValueError):
            return parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
        return None

    def size(self, key: str) -> int | None:
        """Return the bytes under a key, or None if there is nothing."""
        try:
            return int(self._stat(key).size)
        except MissingObject:
            return None

    def put_bytes(self, key: str, data: bytes) -> None:
        """Store `data`; readers see the old bytes or the new ones, never a mixture."""
        name = self._name(key)

        def send() -> None:
            if not self._client.put_object(self.bucket, name, BytesIO(data), len(data)).etag:
                raise NotS3

        self._retry(send, key)

    def put_new(self, key: str, data: bytes) -> bool:
        """Store `data` where nothing lies under the key yet; tell whether it lies there now."""
        if self.exists(key):  # some servers pass over the condition
            return False
        name = self._name(key)

        def send() -> None:
            try:
                # minio's `put_object` makes every header it does not know one of the object's own.
                sent = self._client._put_object(self.bucket, name, data, {"If-None-Match": "*"})
            except S3Error as error:
                if error.response.status != 412:
                    raise
            else:
                if not sent.etag:
                    raise NotS3

        self._retry(send, key)
        # The first of two tries may have arrived though its answer did not, so what lies there tells.
        return self.get_bytes(key) == data

    def put_file(self, key: str, path: Path, check: Callable[[], None] = go_on) -> None:
        """Store a file, whatever lies there; it appears whole or not at all. `check` is called before every part."""
        name, size = self._name(key), path.stat().st_size
        with open(path, "rb") as file:
            parts = Checked(file, check)

            def send() -> None:
                file.seek(0)
                # One part at a time: the parallelism is over files, which keeps memory at one part (5 MiB or more).
                sent = self._client.put_object(self.bucket, name, parts, size, num_parallel_uploads=1)
                if not sent.etag:  # the last step of an upload in parts may answer 200 and hold an error
                    raise Busy("InternalError")

            self._retry(send, key, lambda: max(0, file.tell() - MIN_PART_SIZE))  # the last part read is on its way

    def get_bytes(self, key: str) -> bytes:
        """Return the bytes under a key. Raises MissingObject."""
        return self._retry(lambda: b"".join(self._read(key, 0, "")), key)

    def entries(self, prefix: str = "") -> Iterator[Stored]:
        """Yield everything whose key starts with `prefix`, sorted by key."""
        last: str | None = None
        while page := self._retry(partial(self._page, prefix, last)):
            for found in page:
                if not found.is_dir:
                    key = found.object_name.removeprefix(self.prefix)
                    yield Stored(key, int(found.size), found.last_modified.timestamp(), found.etag or "")
            last = page[-1].object_name

    def delete(self, keys: Iterable[str]) -> None:
        """Remove what lies under these keys, a thousand a request."""
        names = (self._name(key) for key in keys)
        while batch := [DeleteObject(name) for name in islice(names, PAGE)]:
            refused = self._retry(partial(self._remove, batch))
            if refused:
                raise StorageError(
                    f"{len(refused)} objects below {self.uri} could not be deleted, among them {refused[0].name} "
                    f"({refused[0].code}). Check what the credentials may do with the bucket."
                )

    def _remove(self, batch: list[DeleteObject]) -> list[Any]:
        refused = list(self._client.remove_objects(self.bucket, batch))
        if busy := next((error for error in refused if error.code in BUSY), None):
            raise Busy(busy.code)
        return refused

    def _page(self, prefix: str, last: str | None) -> tuple[Any, ...]:
        found = self._client.list_objects(self.bucket, self.prefix + prefix, recursive=True, start_after=last)
        return tuple(islice(found, PAGE))

    def _version(self, key: str) -> str:
        try:
            return str(self._stat(key).etag)
        except MissingObject:
            # Whether the bucket is missing only the answer to a GET tells; to list it may not be allowed.
            self._retry(lambda: next(self._read(key, 0, ""), None), key)
            raise

    def _append(self, key: str, file: BinaryIO, update: Callable[[bytes], None], version: str) -> None:
        def rest() -> None:
            for chunk in self._read(key, file.tell(), version):
                file.write(chunk)
                update(chunk)

        self._retry(rest, key, file.tell)

    def _read(self, key: str, offset: int, version: str) -> Iterator[bytes]:
        headers = {"If-Match": f'"{version}"'} if version else {}
        try:
            response = self._client.get_object(self.bucket, self._name(key), offset=offset, request_headers=headers)
        except S3Error as error:
            if error.response.status == 416:  # range not satisfiable: the object ends at or before `offset`
                return
            raise
        try:
            if "etag" not in response.headers:
                raise NotS3
            yield from response.stream(CHUNK, decode_content=False)
        finally:
            response.close()
            response.release_conn()

    def _stat(self, key: str) -> Any:
        name = self._name(key)

        def ask() -> Any:
            found = self._client.stat_object(self.bucket, name)
            if not found.etag:
                raise NotS3
            return found

        return self._retry(ask, key)

    def _name(self, key: str) -> str:
        return self.prefix + check_key(key)

    def _retry(self, call: Callable[[], Result], key: str = "", reached: Callable[[], int] = lambda: 0) -> Result:
        """Call until it works, for as long as SIGHTLINE_S3_WAIT says; `reached` tells how far a transfer is.

        Only what may pass is tried again: no answer, a broken connection, a busy or failing server.
        """
        with Patience(self._outage, self.wait, reached) as tries:
            while True:
                try:
                    result = call()
                except (MinioException, urllib3.exceptions.HTTPError, *UNREADABLE) as error:
                    if isinstance(error, UNREADABLE):
                        self._client._region_map.clear()  # minio may have taken a word of the page for the region
                    known = self._outage.answered_once
                    budget = self.wait if known or not nameless(error) else min(NAMELESS, self.wait)
                    if not may_pass(error, known) or not tries.again(reason(error), budget):
                        raise self._explain(error, key, tries) from None
                else:
                    self._outage.answered()
                    return result

    def _explain(self, error: Exception, key: str, tries: Patience) -> StorageError:
        """Say what happened to a request about `key` (empty: about the bucket) and what to do."""
        where = f"{self.uri}/{key}" if key else self.uri
        times = f"tried {tries.attempts} times in {tries.waited:.0f} s" if tries.attempts > 1 else "tried once"
        if isinstance(error, UNREADABLE):
            return StorageError(
                f"{where}: {self.address} answers with something that is not S3's XML ({times}). Check that "
                "SIGHTLINE_S3_ENDPOINT is the address of an S3 server, and that no proxy in front of it shows a page "
                "of its own, then run again: transfers continue."
            )
        code = code_of(error)
        if code == "NoSuchBucket":
            return StorageUsageError(
                f"{where}: there is no bucket {self.bucket!r} at {self.address}. Create it, or correct the name or "
                "SIGHTLINE_S3_ENDPOINT."
            )
        if code == "NoSuchKey":
            return MissingObject(f"{where} does not exist (endpoint {self.address}).")
        if full(error):
            return StorageError(
                f"{where}: the object store at {self.address} is full ({code}; {times}). Delete what is not needed "
                "there, or raise its quota, then run again: what has arrived is used."
            )
        if code in ADVICE:
            return StorageUsageError(f"{where}: access refused by {self.address} ({code}): {ADVICE[code]}")
        if refused(error):  # without a word in the answer to a HEAD, whatever is wrong
            return StorageUsageError(
                f"{where}: access refused by {self.address} ({code}). Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY "
                "and, where used, AWS_SESSION_TOKEN and AWS_REGION, and what they may do with the bucket."
            )
        if code == "PreconditionFailed":
            return StorageError(f"{where} changed while it was read. Run again.")
        if nameless(error) and not self._outage.answered_once:
            return StorageUsageError(
                f"{where}: there is no host of the name in {self.address} ({times}). Correct SIGHTLINE_S3_ENDPOINT, or "
                "check the network."
            )
        if isinstance(error, urllib3.exceptions.HTTPError):
            return StorageError(
                f"{where}: the object store at {self.address} does not answer ({reason(error)}; {times}). Check that "
                "it runs and that SIGHTLINE_S3_ENDPOINT is its address, then run again: transfers continue. "
                "SIGHTLINE_S3_WAIT sets for how many seconds an outage is waited out."
            )
        return StorageError(
            f"{where}: {self.address} answered {code} ({times}). Check that SIGHTLINE_S3_ENDPOINT is the "
            "address of an S3 server, and AWS_REGION, where used, the bucket's region, then run again: transfers "
            "continue."
        )
