"""The settings of the machine's package index, as a build gets them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from images import index_settings


def test_what_pip_is_configured_to_is_said_to_uv_as_well() -> None:
    pip = {"index-url": "https://packages.example/simple", "trusted-host": "packages.example", "find-links": "/wheels"}
    assert index_settings.settings({}, pip) == {
        "PIP_INDEX_URL": "https://packages.example/simple",
        "UV_DEFAULT_INDEX": "https://packages.example/simple",
        "PIP_TRUSTED_HOST": "packages.example",
        "UV_INSECURE_HOST": "packages.example",
    }


def test_uvs_own_variables_win_and_nothing_else_of_the_environment_is_handed_on() -> None:
    environment = {"UV_DEFAULT_INDEX": "https://b.example", "UV_INDEX_B_PASSWORD": "x", "AWS_SECRET_ACCESS_KEY": "y"}
    found = index_settings.settings(environment, {"index-url": "https://a.example"})
    assert found["UV_DEFAULT_INDEX"] == "https://b.example"
    assert found["UV_INDEX_B_PASSWORD"] == "x"
    assert "AWS_SECRET_ACCESS_KEY" not in found


def test_a_shell_reads_back_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://user:a'b$c d@packages.example/simple"
    authorities = tmp_path / "authorities.pem"
    authorities.write_text("certificates\n")
    monkeypatch.setenv("UV_DEFAULT_INDEX", url)
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities))
    secrets = index_settings.write_secrets(tmp_path)
    read = f'set -a; . {secrets["index"]}; printf %s "$UV_DEFAULT_INDEX"'
    assert subprocess.run(["sh", "-c", read], capture_output=True, text=True, check=True, env={}).stdout == url
    assert secrets["ca"].read_text() == "certificates\n"
