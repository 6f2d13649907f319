"""How every call to a Kubeflow Pipelines server goes: time limits, pages of results, and errors in words.

KFP's generated client sends and reads. Reading is tried again after an overload; nothing that creates is ever sent
twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import urllib3

from sightline.errors import ClusterError, ClusterUsageError
from sightline.orchestrate.connection import Connection, connect
from sightline.orchestrate.kfp_errors import Failed, Refused, outage, refusal
from sightline.runtime.server_words import words

MAJOR = 2  # of the KFP servers whose API this is
PAGE = 100  # things that a server lists at a time


class Calls:
    """A Kubeflow Pipelines server that was asked who it is.

    Every call raises ClusterUsageError for what the server refuses, and ClusterError where it fails or does not answer.
    """

    def __init__(self, namespace: str | None, most: int | None = None) -> None:
        """Connect, and see that this is a server whose API we know; `shared` says whether it has several namespaces.

        It has `most` seconds for each answer; without that, as many as the environment says.
        """
        import kfp_server_api

        self.kfp = kfp_server_api
        self.at: Connection = connect(namespace, most=most)
        self.release = ""  # as it calls itself
        self.shared = self._identify()

    def _identify(self) -> bool:
        """See that the server is one of our major version; returns whether it serves several namespaces."""
        health = self._found("say who it is", self._get, "/apis/v2beta1/healthz")
        if not isinstance(health, dict) or "multi_user" not in health:
            old = None if health else self._found("say who it is", self._get, "/apis/v1beta1/healthz")
            speaks = "speaks only the API of KFP 1" if isinstance(old, dict) else "is no Kubeflow Pipelines server"
            raise ClusterUsageError(
                f"What answers at {self.at.address} {speaks}; expected one of KFP {MAJOR}. See KFP_ENDPOINT."
            )
        self.release = str(health.get("tag_name"))  # "unknown" where the server was built by hand
        version = re.match(r"v?(\d+)\.", self.release)
        if version and int(version[1]) != MAJOR:
            raise ClusterUsageError(
                f"The server at {self.at.address} is KFP {self.release}; expected one of KFP {MAJOR}."
            )
        return bool(health["multi_user"])

    def _get(self, path: str, **options: Any) -> Any:
        return self.at.client.call_api(
            path, "GET", response_type="object", auth_settings=["Bearer"], _return_http_data_only=True, **options
        )

    def _found(self, what: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any | None:
        """Call, and return None for what does not exist."""
        try:
            return self._call(what, call, *arguments, **options)
        except Refused as answer:
            if answer.status == 404:
                return None
            raise

    def _created(
        self, what: str, find: Callable[[], Any | None], call: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Any:
        """Call, and return what somebody else created meanwhile under the same name."""
        try:
            return self._call(what, call, *arguments, **options)
        except Failed as answer:
            if answer.status == 409 and (found := find()) is not None:
                return found
            raise

    def _listed(
        self, what: str, field: str, call: Callable[..., Any], *arguments: Any, **options: Any
    ) -> Iterator[Any]:
        """Yield everything that the server lists, page by page."""
        token = ""
        while True:
            page = self._call(what, call, *arguments, page_size=PAGE, page_token=token, **options)
            yield from getattr(page, field) or []
            if not (token := page.next_page_token or ""):
                return

    def _call(self, what: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call, and see that the API answered: KFP's client takes a proxy's page to log in for an empty list."""
        answer = self._send(what, call, *arguments, **options)
        if "html" in (self.at.client.last_response.getheader("content-type") or ""):
            raise ClusterUsageError(
                f"The server at {self.at.address} was to {what}, and what answers is a page for a browser, perhaps to "
                "log in: set KFP_TOKEN to a token that it accepts. See KFP_ENDPOINT."
            )
        return answer

    def _send(self, what: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return call(*arguments, _request_timeout=self.at.timeout, **options)
        except self.kfp.ApiException as error:
            raise refusal(self.at, what, int(error.status or 0), words(error.body or error.reason)) from None
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(outage(self.at, what, error)) from None
