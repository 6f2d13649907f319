"""A bucket of an S3 server, read and written as a person would."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.deleteobjects import DeleteObject


class Bucket:
    """One bucket, by the address and the keys of an environment."""

    def __init__(self, variables: Mapping[str, str], name: str) -> None:
        """Connect, with five tries at everything."""
        address = urlsplit(variables["SIGHTLINE_S3_ENDPOINT"])
        self.name = name
        self.client = Minio(
            address.netloc,
            variables["AWS_ACCESS_KEY_ID"],
            variables["AWS_SECRET_ACCESS_KEY"],
            secure=address.scheme == "https",
            region=variables["AWS_REGION"],
            http_client=urllib3.PoolManager(timeout=30, retries=5),
        )

    def make(self) -> None:
        if not self.client.bucket_exists(self.name):
            self.client.make_bucket(self.name)

    def keys(self, prefix: str) -> list[str]:
        return [str(each.object_name) for each in self.client.list_objects(self.name, prefix, recursive=True)]

    def read(self, key: str) -> bytes:
        answer = self.client.get_object(self.name, key)
        try:
            return bytes(answer.read())
        finally:
            answer.close()

    def put_folder(self, folder: Path, prefix: str) -> None:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.client.fput_object(self.name, f"{prefix}/{path.relative_to(folder).as_posix()}", str(path))

    def empty(self, prefix: str) -> None:
        left = list(self.client.remove_objects(self.name, [DeleteObject(key) for key in self.keys(prefix)]))
        assert not left, left
