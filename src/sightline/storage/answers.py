"""What an S3 server's answers mean, and which of them may be others a moment later."""

from __future__ import annotations

import re
import socket
import ssl
from xml.etree import ElementTree

import urllib3
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

REFUSED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken",
           "InvalidClientTokenId", "RequestTimeTooSkewed", "AuthorizationHeaderMalformed")  # fmt: skip
BUSY = ("SlowDown", "SlowDownRead", "SlowDownWrite", "RequestTimeout", "InternalError", "ServiceUnavailable",
        "OperationAborted", "Throttling", "ThrottlingException", "RequestThrottled", "TooManyRequests",
        "XMinioServerNotInitialized", "ConditionalRequestConflict")  # fmt: skip
# What is wrong with the credentials, where the server's word for it says so.
ADVICE = {
    "InvalidAccessKeyId": "it does not know AWS_ACCESS_KEY_ID. Correct it, or SIGHTLINE_S3_ENDPOINT.",
    "InvalidClientTokenId": "it does not know AWS_ACCESS_KEY_ID. Correct it, or SIGHTLINE_S3_ENDPOINT.",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY is not the one of AWS_ACCESS_KEY_ID. Correct it; if it is right, "
    "AWS_REGION is not the bucket's, or a proxy on the way changes requests.",
    "ExpiredToken": "AWS_SESSION_TOKEN is no longer valid. Get new credentials.",
    "InvalidToken": "AWS_SESSION_TOKEN is not one that it gave. Correct it, or unset it where keys need none.",
    "RequestTimeTooSkewed": "its clock and this machine's differ too much. Set them.",
}
FULL = re.compile(r"\w*(StorageFull|QuotaExceeded|InsufficientStorage\w*)")  # of MinIO, Ceph and others
# Of minio, for an answer that is no XML, and for XML, text, dates and numbers that are not S3's.
UNREADABLE = (ElementTree.ParseError, ValueError)
# HTTP statuses after which the same request may work.
PASSING = (408, 425, 429, *(status for status in range(500, 600) if status not in (501, 505, 507, 511)))


class Busy(MinioException):  # type: ignore[misc]
    """An answer that says success and holds an error that may pass."""

    def __init__(self, code: str) -> None:
        """Take S3's code."""
        super().__init__(code)
        self.code = code


class NotS3(ValueError):
    """An answer that says success and lacks what every S3 server sends: a proxy's page, most likely."""


def code_of(error: Exception) -> str:
    """Return S3's word for an error, or the HTTP status where there is none."""
    if isinstance(error, S3Error | Busy) and error.code:
        return str(error.code)
    return f"HTTP status {status_of(error)}"


def status_of(error: Exception) -> int | None:
    """Return the HTTP status of an answer; null for one that says success, and where there is none."""
    if isinstance(error, S3Error):
        return int(error.response.status)
    if isinstance(error, ServerError):
        return int(error.status_code)
    return int(error._code) if isinstance(error, InvalidResponseError) else None


def refused(error: Exception) -> bool:
    """Tell whether the server knows what was asked, and does not allow it; some say so without XML."""
    return code_of(error) in REFUSED or status_of(error) in (401, 403)


def full(error: Exception) -> bool:
    """Tell whether the server has no room left, on its disks or in a quota."""
    return bool(FULL.fullmatch(code_of(error))) or status_of(error) == 507


def may_pass(error: Exception, known: bool) -> bool:
    """Tell whether the same request may work later, of a server that is `known` to be one, or not yet.

    What is no S3 at all stays so; where it was one before, it is a proxy's page, or an answer that was cut.
    """
    if isinstance(error, Busy):
        return True
    if isinstance(error, UNREADABLE):
        return known
    if (status := status_of(error)) is not None:
        return code_of(error) in BUSY or status in PASSING
    if isinstance(error, urllib3.exceptions.SSLError):
        return isinstance(_cause(error), ssl.SSLEOFError | ssl.SSLZeroReturnError)  # cut, not refused
    return True


def nameless(error: Exception) -> bool:
    """Tell whether there was no server to ask, because its name leads to no address.

    A name server that does not answer just now is an outage like any other.
    """
    cause = _cause(error)
    silent = isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_AGAIN
    return isinstance(error, urllib3.exceptions.NameResolutionError) and not silent


def _cause(error: Exception) -> object:
    return error.__cause__ or error.__context__ or (error.args[0] if error.args else None)


def reason(error: Exception) -> str:
    """Say in a few words why a request had no answer: the system's own, or S3's code."""
    if nameless(error):
        return "its name is not known"
    if isinstance(error, urllib3.exceptions.HTTPError):
        timed_out = isinstance(error, urllib3.exceptions.TimeoutError)
        return getattr(_cause(error), "strerror", None) or ("timed out" if timed_out else type(error).__name__)
    return "it answers with something that is not S3's XML" if isinstance(error, UNREADABLE) else code_of(error)
