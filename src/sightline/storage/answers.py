"""What an S3 server's answers mean, and which of them may be others a moment later."""

from __future__ import annotations

import ssl
from xml.etree import ElementTree

import urllib3
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

REFUSED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken",
           "InvalidClientTokenId", "RequestTimeTooSkewed", "AuthorizationHeaderMalformed")  # fmt: skip
BUSY = ("SlowDown", "SlowDownRead", "SlowDownWrite", "RequestTimeout", "InternalError", "ServiceUnavailable",
        "OperationAborted", "Throttling", "ThrottlingException", "RequestThrottled", "TooManyRequests",
        "XMinioServerNotInitialized")  # fmt: skip
# HTTP statuses after which the same request may work.
PASSING = (408, 425, 429, *(status for status in range(500, 600) if status not in (501, 505, 507, 511)))


class Busy(MinioException):  # type: ignore[misc]
    """An answer that says success and holds an error that may pass."""

    def __init__(self, code: str) -> None:
        """Take S3's code."""
        super().__init__(code)
        self.code = code


def code_of(error: Exception) -> str:
    """Return S3's word for an error, or the HTTP status where there is none."""
    if isinstance(error, S3Error | Busy):
        return str(error.code)
    if isinstance(error, ServerError):
        return f"HTTP status {error.status_code}"
    if isinstance(error, InvalidResponseError):
        return f"HTTP status {error._code}"
    return "something that is not S3's XML"


def may_pass(error: Exception, known: bool) -> bool:
    """Tell whether the same request may work later, of a server that is `known` to be one, or not yet.

    What is no S3 at all stays so; where it was one before, it is a proxy's page, or an answer that was cut.
    """
    if isinstance(error, Busy):
        return True
    if isinstance(error, S3Error):
        return error.code in BUSY or error.response.status in PASSING
    if isinstance(error, ServerError):
        return error.status_code in PASSING
    if isinstance(error, InvalidResponseError):
        return error._code in PASSING
    if isinstance(error, ElementTree.ParseError):
        return known
    if isinstance(error, urllib3.exceptions.SSLError):
        return isinstance(_cause(error), ssl.SSLEOFError | ssl.SSLZeroReturnError)  # cut, not refused
    return True


def nameless(error: Exception) -> bool:
    """Tell whether there was nobody to ask, because the server's name leads to no address."""
    return isinstance(error, urllib3.exceptions.NameResolutionError)


def _cause(error: Exception) -> object:
    return error.__cause__ or error.__context__ or (error.args[0] if error.args else None)


def reason(error: Exception) -> str:
    """Say in a few words why a request had no answer: the system's own, or S3's code."""
    if nameless(error):
        return "its name is not known"
    if isinstance(error, urllib3.exceptions.HTTPError):
        timed_out = isinstance(error, urllib3.exceptions.TimeoutError)
        return getattr(_cause(error), "strerror", None) or ("timed out" if timed_out else type(error).__name__)
    return code_of(error)
