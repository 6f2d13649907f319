"""Where the cluster for tests is: what the environment says of it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass

HOW = "(tests/README.md says what a cluster for tests needs)"


NEEDED = (
    *("KFP_ENDPOINT", "SIGHTLINE_IMAGES", "SIGHTLINE_TEST_CLUSTER_HOST"),
    *("SIGHTLINE_S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
)


@dataclass(frozen=True)
class Place:
    """What the environment says of a cluster for tests, and what this session calls its own."""

    namespace: str
    images: str
    host: str  # under which pods reach this machine
    s3: Mapping[str, str]  # address and keys of the store, for this machine
    s3_of_pods: str
    bucket: str
    session: str  # in the name of all that these tests make

    @property
    def store(self) -> str:
        return f"s3://{self.bucket}/{self.session}"

    @property
    def experiment(self) -> str:
        return self.session


def place(environment: Mapping[str, str], session: str) -> Place | str:
    """What the environment says, or what it lacks, in a sentence."""
    needed: tuple[str, ...] = (
        "KFP_ENDPOINT",
        "SIGHTLINE_IMAGES",
        "SIGHTLINE_TEST_CLUSTER_HOST",
        "SIGHTLINE_S3_ENDPOINT",
    )
    needed = (*needed, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    if missing := [name for name in needed if not environment.get(name)]:
        return f"no cluster to test on: {', '.join(missing)} not set {HOW}"
    if not shutil.which("kubectl"):
        return f"no cluster to test on: kubectl is not on the PATH {HOW}"
    names = ("SIGHTLINE_S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")
    s3 = {"AWS_REGION": "us-east-1"} | {name: environment[name] for name in names if name in environment}
    return Place(
        namespace=environment.get("SIGHTLINE_TEST_CLUSTER_NAMESPACE", "kubeflow"),
        images=environment["SIGHTLINE_IMAGES"],
        host=environment["SIGHTLINE_TEST_CLUSTER_HOST"],
        s3=s3,
        s3_of_pods=environment.get("SIGHTLINE_TEST_CLUSTER_S3") or s3["SIGHTLINE_S3_ENDPOINT"],
        bucket=environment.get("SIGHTLINE_TEST_CLUSTER_BUCKET", "sightline"),
        session=session,
    )
