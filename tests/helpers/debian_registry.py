"""A real registry of images: Debian's docker-registry, with its files in a folder."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.servers import free_port


@contextlib.contextmanager
def registry_serving(folder: Path, password: str = "") -> Iterator[str]:
    """Run the registry with its images in `folder`, and give its host."""
    program = shutil.which("docker-registry") or shutil.which("registry")
    if program is None:
        pytest.skip("needs docker-registry (Debian's package)")
    port = free_port()
    lines = [
        "version: 0.1",
        f"storage: {{filesystem: {{rootdirectory: {folder}}}}}",
        f"http: {{addr: '127.0.0.1:{port}'}}",
    ]
    if password:
        (folder / "users").write_text(password)
        lines.append(f"auth: {{htpasswd: {{realm: test, path: {folder}/users}}}}")
    (folder / "config.yml").write_text("\n".join(lines))
    with open(folder / "log", "wb") as log:
        server = subprocess.Popen([program, "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    try:
        for _ in range(100):
            with contextlib.suppress(urllib.error.HTTPError, urllib.error.URLError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2).close()
                break
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()
