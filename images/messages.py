"""What an engine's or a registry's words mean, said so that a user knows what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

from sightline.errors import ConfigError, SightlineError

FULL = "no space left on device|disk quota exceeded"
NO_ANSWER = (
    "connection refused|no such host|timeout|timed out|unreachable|name or service not known|name resolution|"
    "failed to resolve|no address associated"
)
LOG_LINE = re.compile(r'time="[^"]*" level=\w+ msg=(?:"((?:[^"\\]|\\.)*)"|(\S+))')
INDEX = (  # the reason before what follows from it
    re.compile(r".*(\b40[137] (Client )?Error|\b40[137] (Unauthorized|Forbidden|Proxy)|HTTP error 40[137]).*"),
    re.compile(
        r".*(name resolution|Name or service not known|no such host|dns error|CERTIFICATE_VERIFY_FAILED|"
        r"tls handshake|NewConnectionError|Connection refused).*"
    ),
    re.compile(r".*(No matching distribution|Failed to fetch).*"),
)
NO_BASE = re.compile(
    r"(pull access denied|manifest unknown|failed to resolve source metadata|manifest for \S+ not found).*"
)
NO_SHELL = re.compile(r'exec: "?(/bin/)?sh"?: |"/bin/sh": (executable file|stat /bin/sh)|/bin/sh: no such file')
HASH = re.compile(r".*(Hash mismatch for|DO NOT MATCH THE HASHES).*")


class EngineError(SightlineError):
    """The engine, or a registry, that does not do what a build needs."""

    kind = "engine"


def refused(reference: str, said: str, login: str) -> NoReturn:
    """Raise what a registry's refusal means; `login` is the engine that can log in (`docker`, `podman`)."""
    host, reason = reference.partition("/")[0], last_line(said)
    if re.search(
        r"unauthorized|denied|no basic auth|authentication required|forbidden|\b40[13]\b", said, re.IGNORECASE
    ):
        raise EngineError(f"The registry {host} refuses {reference}: {reason}. Log in (`{login} login {host}`).")
    if re.search(NO_ANSWER, said, re.IGNORECASE):
        no_answer(host, reason)
    if re.search("image does not exist locally|no such image|image not known|does not exist", said, re.IGNORECASE):
        gone(reference)
    raise EngineError(f"The registry {host} does not take {reference}: {reason}.")


def no_answer(host: str, reason: str) -> NoReturn:
    """Raise that no registry answers."""
    raise EngineError(f"No registry answers at {host}: {reason}. Start it, or fix REGISTRY.")


def gone(*references: str) -> NoReturn:
    """Raise that images of the last build are no longer in the engine."""
    raise EngineError(
        f"{' and '.join(references)} {'is' if len(references) == 1 else 'are'} no longer on this machine. Run "
        "`make images`, then `make push`."
    )


def base_failed(reference: str, said: str) -> NoReturn:
    """Raise why a base image cannot be pulled."""
    raise EngineError(
        f"BASE_IMAGE: {reference} is not on this machine and cannot be pulled: {last_line(said)}. "
        "Make or load it, or name another base with Python 3.11."
    )


def not_answering(program: str, kind: str, said: str) -> NoReturn:
    """Raise why an engine cannot be used."""
    reason = last_line(said)
    if kind == "podman":  # it has no daemon: what fails is its own folders
        raise EngineError(f"{program} does not start: {reason}. Set HOME to a folder that you may write to.")
    if "permission denied" in said.lower():
        raise EngineError(
            f"{program} may not use its socket: {reason}. Join the group of the socket (`docker` as a rule), or "
            "use a rootless engine: CONTAINER=podman."
        )
    raise EngineError(f"{program}: the engine is not running: {reason}. Start it, or name another: CONTAINER=podman.")


def build_failed(name: str, log: Path) -> NoReturn:
    """Raise what a build's output means."""
    text = log.read_text(errors="replace")
    if ours := re.findall(r"sightline: (.*)", text):
        raise ConfigError(ours[-1])
    if re.search(FULL, text, re.IGNORECASE):
        raise EngineError(
            f"sightline-{name}: the disk of the engine is full. Make room (`docker system df`, `docker builder "
            "prune`), and run again. No image was named."
        )
    if NO_SHELL.search(text):
        raise ConfigError("BASE_IMAGE has no shell (/bin/sh), expected one and Python 3.11. Choose another base.")
    if base := NO_BASE.search(text):
        raise EngineError(f"BASE_IMAGE: {last_line(base[0])}. Make or load it, or name another base with Python 3.11.")
    if wrong := HASH.search(text):
        raise EngineError(
            f"sightline-{name}: the index serves another file than the list names: {_said(wrong[0])}. Ask whoever runs "
            f"the index, or see {log}. No image was named."
        )
    if index := next((found for reason in INDEX if (found := reason.search(text))), None):
        raise EngineError(
            f"sightline-{name}: the build cannot get the packages: {_said(index[0])}. It uses the index settings "
            "of pip and uv on this machine; images/README.md says which."
        )
    raise EngineError(
        f"sightline-{name} was not built, and no image was named. The end of {log}:\n"
        + "\n".join(text.splitlines()[-15:])
    )


def last_line(text: str) -> str:
    """Return the last line that says something, without a log's prefix, a question after it, or a full stop."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "it gave no reason"
    line = LOG_LINE.sub(lambda found: (found[1] or found[2]).replace('\\"', '"'), lines[-1])
    return re.sub(r"(?<=[.!])\s+[^.?!]*\?$", "", line).rstrip(".?! ")


def _said(line: str) -> str:
    """Return a line of a build's log without the step and time before it."""
    return re.sub(r"^#\d+ [\d.]+ +", "", line.strip()).rstrip(".")
