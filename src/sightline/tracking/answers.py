"""Explains failures of MLflow, its transport and its database, in a line each and with advice."""

from __future__ import annotations

import http.client
import inspect
import os
import re
import socket
from collections.abc import Iterator
from typing import Any

CREDENTIALS = re.compile(r"://[^/?#\s]*@")
SIGN_IN = (
    "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, to what the server expects"
)
NOT_MLFLOW = "it answers, but not as MLflow's API does: another service, most likely"
PAGE = "it answers with a page, not as MLflow's API does: a login page or another service"
NOTHING = "it answers with nothing, where MLflow's API answers with JSON"
STATUS = re.compile(r"(?:failed with error code |too many |^)(\d{3})\b(?: != | error responses| \w+ Error: )")
BODY = re.compile(r"(?:Response body: '|Response text: )(.*?)'?$", re.DOTALL)
LENGTH = 400  # of a quotation, at most


def message(answer: Any) -> str:
    """Return the message in the body of an HTTP answer, as `: message`; empty for an HTML page."""
    try:
        said = answer.json()
        said = said.get("message") or said.get("error_code") if isinstance(said, dict) else said
    except ValueError:
        said = answer.text
    return _quoted(str(said or ""))


def not_mlflow(body: str) -> str:
    """Say what an answer of status 200 is if it is not the JSON object that MLflow sends."""
    plain = body.strip()
    if not plain:
        return NOTHING
    return NOT_MLFLOW if plain[0] in '[{"' or plain in ("null", "true", "false") or plain.isdecimal() else PAGE


def keep_messages() -> None:
    """Make MLflow's client raise the message of a failing server, which by default it drops for the status alone."""
    from mlflow.utils.rest_utils import http_request

    names = [
        each.name for each in inspect.signature(http_request).parameters.values() if each.default is not each.empty
    ]
    values = dict(zip(names, http_request.__defaults__, strict=True))
    http_request.__defaults__ = tuple({**values, "raise_on_status": False}.values())


def reason(error: BaseException) -> str:
    """Say in a line and without credentials why MLflow, its transport or its database failed."""
    said = str(error)
    if isinstance(error, ModuleNotFoundError):
        return f"a library that this address needs is not installed here ({said})"
    if (of_database := _database(error)) is not None:
        return f"its database says: {of_database}"
    if (of_transport := _transport(error)) is not None:
        return of_transport
    body = BODY.search(said)
    if found := STATUS.search(said):
        return f"its API answers {found[1]}{_quoted(body[1]) if body else ''}"
    if body and "valid JSON" in said:
        return not_mlflow(body[1])
    if type(error).__name__ == "JSONDecodeError":
        return NOT_MLFLOW
    said = re.sub(r":( None| null)?$", "", said.partition("\n")[0][:LENGTH].rstrip(". "))
    return CREDENTIALS.sub("://", said) or type(error).__name__


def advice(error: BaseException, variable: str) -> str:
    """Say what to do about a failure at the address that `variable` names."""
    said, code = str(error), str(getattr(error, "error_code", ""))
    status = STATUS.search(said)
    number = int(status[1]) if status else 0
    if isinstance(error, ModuleNotFoundError):
        return f"Install it, or fix {variable}."
    if (of_database := _database(error)) is not None:
        if "locked" in of_database:
            return "Another program writes to it: wait until that has ended."
        return f"Check that its file is whole and that there is room to write, or name another with {variable}."
    if _transport(error) is not None:
        return f"Start it, or fix {variable}."
    if number in (401, 403) or code in ("PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"):
        return f"{SIGN_IN}, and give that user the right to read and write here."
    if BODY.search(said) and "valid JSON" in said:
        return f"{SIGN_IN}, or fix {variable}."
    if number == 404 or code == "ENDPOINT_NOT_FOUND":
        return f"Fix {variable}, or use an MLflow server of version 3."
    if code == "RESOURCE_DOES_NOT_EXIST":
        opened = os.environ.get("MLFLOW_RUN_ID")
        return "Correct MLFLOW_RUN_ID, or unset it." if opened and opened in said else "Restore it there."
    if (
        number >= 500
        or code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
        or number == 429
    ):
        return "See the server's own log."
    return "Correct what it names."


def _quoted(said: str) -> str:
    said = CREDENTIALS.sub("://", " ".join(said.split()))[:LENGTH].rstrip(". ")
    return f": {said}" if said and "<" not in said else ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes: MLflow and requests wrap what they catch."""
    link: BaseException | None = error
    while link is not None:
        yield link
        inner = next(
            (each for each in (getattr(link, "reason", None), *link.args) if isinstance(each, Exception)), None
        )
        link = inner or link.__cause__ or link.__context__


def _database(error: BaseException) -> str | None:
    """Return a database's own words, without the statement and the parameters that SQLAlchemy adds."""
    for link in _chain(error):
        if type(link).__module__.startswith(("sqlalchemy.", "alembic.")):
            said = str(getattr(link, "orig", None) or link).partition("\n")[0]
            return re.sub(r"^\([\w.]+\) ", "", CREDENTIALS.sub("://", said))[:LENGTH].rstrip(". ")
    return None


def _transport(error: BaseException) -> str | None:
    """Say why a request got no answer; None if it got one, or if there was no request."""
    links = list(_chain(error))
    names = {kind.__name__ for link in links for kind in type(link).__mro__}
    requested = any(type(link).__module__.startswith(("requests.", "urllib3.")) for link in links)
    said = str(error)
    if "timed out" in said.lower() or isinstance(error, TimeoutError) or (requested and "Timeout" in names):
        seconds = re.search(r"timeout=(\d+)", said)
        return f"it accepted a request and gave no answer {f'within {seconds[1]} s' if seconds else 'in time'}"
    if not requested or names & {"ResponseError", "JSONDecodeError"} or getattr(error, "response", None) is not None:
        return None
    if found := re.search(r"SSLError\(.*?'(.*?)( \(_ssl\.c:\d+\))?'\)", said, re.DOTALL):
        return f"TLS failed ({found[1]}): is it http or https, and are the certificates known here"
    if "TooManyRedirects" in names:
        return "it sends a request from address to address without end"
    if names & {"InvalidURL", "LocationParseError", "InvalidSchema", "MissingSchema"}:
        return "its address cannot be used"
    if names & {"IncompleteRead", "ChunkedEncodingError", "ContentDecodingError", "DecodeError", "InvalidChunkLength"}:
        return "its answer was cut, or cannot be decoded"
    for link in reversed(links):
        if isinstance(link, http.client.RemoteDisconnected):
            return "it closes the connection without an answer"
        if isinstance(link, socket.gaierror) or (isinstance(link, OSError) and link.strerror):
            return str(link.strerror).lower()
    return "it does not answer"
