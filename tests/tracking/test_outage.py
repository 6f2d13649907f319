"""A tracking server that is away for a moment: pods of a run wait for it, a person's command says it at once."""

from __future__ import annotations

import http.server
import socket
import threading
import time

import pytest

from sightline.tracking import reach


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("pod", [True, False])
def test_a_restart_is_waited_out_in_pods_alone(monkeypatch: pytest.MonkeyPatch, pod: bool) -> None:
    for name in ("KFP_POD_NAME", "KFP_POD_UID"):
        monkeypatch.setenv(name, "x") if pod else monkeypatch.delenv(name, raising=False)
    port = free_port()
    started: list[http.server.HTTPServer] = []

    def start() -> None:
        started.append(http.server.HTTPServer(("127.0.0.1", port), http.server.BaseHTTPRequestHandler))
        started[0].serve_forever()

    timer = threading.Timer(1.0, start)
    timer.start()
    began = time.monotonic()
    try:
        reason = reach.no_answer_reason(f"http://127.0.0.1:{port}")
    finally:
        timer.join(0.0)
        while not started:
            time.sleep(0.05)
        started[0].shutdown()
        started[0].server_close()
    if pod:
        assert reason is None
        assert time.monotonic() - began >= 1.0
    else:
        assert reason == "connection refused"
