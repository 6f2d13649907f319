"""The package index settings of this machine, for a build to use and no image to keep.

pip's own files and variables are read by pip; uv reads only its own variables, so pip's are said in these as well.
Folders of wheels are left out: a build does not see this machine's disk.
"""

from __future__ import annotations

import ast
import os
import shlex
import ssl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

FOR_UV = {  # pip's setting -> uv's variable
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
}
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
CREDENTIALS = ("UV_INDEX_",)  # UV_INDEX_<NAME>_USERNAME and _PASSWORD


def settings(environment: Mapping[str, str], pip: Mapping[str, str]) -> dict[str, str]:
    """Return the variables with which pip and uv use this machine's index; `pip` is what pip is configured to."""
    found = {}
    for name, value in pip.items():
        if name in FOR_UV:
            found[f"PIP_{name.replace('-', '_').upper()}"] = value
            found[FOR_UV[name]] = value
    kept = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INSECURE_HOST", "UV_HTTP_TIMEOUT")
    for name, value in environment.items():
        if value and (name in (*kept, *PROXIES) or name.startswith(CREDENTIALS)):
            found[name] = value
    return found


def write_secrets(folder: Path) -> dict[str, Path]:
    """Write what a build gets as secrets into `folder`: shell assignments, and the certificate authorities."""
    pip = _pip()
    index, authorities = folder / "index", folder / "ca"
    index.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in settings(os.environ, pip).items()))
    given = os.environ.get("SSL_CERT_FILE") or pip.get("cert") or ssl.get_default_verify_paths().cafile
    authorities.write_bytes(Path(given).read_bytes() if given and Path(given).is_file() else b"")
    return {"index": index, "ca": authorities}


def _pip() -> dict[str, str]:
    """Return pip's settings, its files and variables together; empty without pip."""
    command = [sys.executable, "-m", "pip", "config", "list", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = {}
    for line in sorted(done.stdout.splitlines(), key=lambda line: line.startswith(":env:")):  # variables win
        name, separator, value = line.partition("=")
        if separator:
            found[name.rpartition(".")[2]] = " ".join(str(ast.literal_eval(value)).split())
    return found
