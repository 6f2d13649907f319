"""Where the Kubeflow Pipelines server is, and the token that it accepts, as the environment has them."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sightline.errors import ClusterUsageError

ADDRESS = re.compile(r"https?://[^\s/?#@]+(/[^\s?#@]*)?")
MOUNTED = Path("/var/run/secrets/kubeflow/pipelines/token")  # where Kubeflow gives a pod a token of its own


def endpoint() -> str | None:
    """Return the server's address. Raises ClusterUsageError; it is not quoted, since it may hold a password."""
    name = next((name for name in ("KFP_ENDPOINT", "KF_PIPELINES_ENDPOINT") if os.environ.get(name)), None)
    if name is None:
        return None
    address = os.environ[name].strip().rstrip("/")
    if not ADDRESS.fullmatch(address):
        raise ClusterUsageError(
            f"{name} is not an address of a Kubeflow Pipelines server; expected http://host:port or https://host/path, "
            "and no credentials in it."
        )
    return address


def token() -> tuple[str | None, str]:
    """Return the token and where it came from. Raises ClusterUsageError."""
    word, source = os.environ.get("KFP_TOKEN", "").strip(), "KFP_TOKEN"
    path = os.environ.get("KF_PIPELINES_SA_TOKEN_PATH") or (MOUNTED if MOUNTED.exists() else None)
    if not word and path:
        source = f"the file {path} (KF_PIPELINES_SA_TOKEN_PATH)"
        try:
            word = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ClusterUsageError(f"The token cannot be read from {source}: {error}.") from None
    if not re.fullmatch(r"[\x21-\x7e]*", word):
        raise ClusterUsageError(f"{source} holds no token: a token is one word of ASCII characters.")
    return (word, source) if word else (None, "")
