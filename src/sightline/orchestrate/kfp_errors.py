"""What a Kubeflow Pipelines server answers when it refuses or fails, in words for the user."""

from __future__ import annotations

import re

import urllib3

from sightline.errors import ClusterError, ClusterUsageError
from sightline.orchestrate.connection import Connection


class Refused(ClusterUsageError):
    """An answer that says the request is wrong."""

    status = 0


class Failed(ClusterError):
    """An answer that says the server failed, or that somebody else was faster."""

    status = 0


def refusal(at: Connection, what: str, status: int, said: str) -> Refused | Failed:
    """Return the error for a status; `what` is what the server was to do."""
    said = f": {said}" if said else "."
    where = f" in the namespace '{at.namespace}'" if at.namespace else ""
    error: type[Refused | Failed] = Refused
    if status == 401 and at.secret:
        text = f"The server at {at.address} does not accept the token of {at.secret}: it is wrong or has expired."
    elif status in (401, 301, 302, 303, 307, 308):
        text = f"The server at {at.address} asks for a login: set KFP_TOKEN to a token that it accepts."
    elif status == 403:
        text = f"You may not {what}{where}; ask whoever runs the server at {at.address}{said}"
    elif status == 404:
        text = f"The server at {at.address} cannot {what}{where}, since there is no such thing{said}"
    elif 400 <= status < 500 and status not in (408, 409, 429):
        text = f"The server at {at.address} refuses to {what}{where}{said}"
    else:
        error = Failed
        text = f"The server at {at.address} could not {what} (status {status}){said}"
        if status == 409:
            text += " Somebody else changes the same at this time; run the same command again."
        elif status == 429:
            text += " It has too much to do; run the same command again later."
        else:
            text += " Its log says more. Run the same command again: it goes on where this one stopped."
    answer = error(text)
    answer.status = status
    return answer


def outage(at: Connection, what: str, error: urllib3.exceptions.HTTPError) -> str:
    """Say why no answer came."""
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, urllib3.exceptions.ReadTimeoutError):
        text = f"did not answer for {at.wait} seconds when it was to {what}"
        if what.startswith("start "):
            text += ". It may have done so all the same: look at its runs before you submit again"
        return f"The server at {at.address} {text}."
    if isinstance(reason, urllib3.exceptions.SSLError):
        why = "its certificate cannot be verified; SSL_CERT_FILE names the authorities of a private one"
    elif isinstance(reason, urllib3.exceptions.NameResolutionError):
        why = "no such host is known here"
    else:
        why = re.sub(r"^.*(: |\] )", "", str(reason)).strip(" )'.") or type(reason).__name__
    return f"The server at {at.address} cannot be reached, to {what}: {why}."
