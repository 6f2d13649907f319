"""Stand-ins for the programs of container engines."""

from __future__ import annotations

from pathlib import Path

OLD = "Docker version 20.10.24, build 1"  # whose client has BuildKit built in


def program(folder: Path, name: str, version: str, body: str = "exit 1") -> Path:
    """Write a program that says this version, and otherwise does what `body` says."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "{version}" && exit 0\n{body}\n')
    path.chmod(0o755)
    return path
