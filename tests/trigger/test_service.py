"""The web service: who may send, what it answers, how it starts and ends."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from minio import Minio

from images import lock
from tests.helpers.kfp_stand_in import StandIn
from tests.helpers.trigger_service import TOKEN, Service, declare, put, s3_event


def test_only_who_knows_the_secret_may_send_and_anybody_may_ask_whether_it_is_there(service: Service, s3: str) -> None:
    service.start()
    service.wait_for("nothing lies below")
    event = json.dumps(s3_event(s3, "cells/a.jpg")).encode()
    for secret in (None, "wrong", TOKEN + "x", "ü"):
        status, words = service.request("POST", "/events", event, secret)
        assert (status, json.loads(words)) == (
            401,
            {"error": "The secret is missing or wrong; expected that of SIGHTLINE_TRIGGER_TOKEN."},
        )
    assert service.log.count("127.0.0.1 sent an event without the right secret: 401") == 1
    assert TOKEN not in service.log
    assert "brings the listing forward" not in service.log
    assert service.request("HEAD", "/events") == (200, "")
    assert service.request("GET", "/healthz") == (200, "ok\n")
    assert service.request("GET", "/readyz") == (200, "ok\n")
    assert service.request("GET", "/events")[0] == 405
    assert service.request("GET", "/docs")[0] == 404


def test_what_cannot_be_read_is_refused_and_what_is_not_watched_is_logged_once(service: Service, s3: str) -> None:
    service.start()
    service.wait_for("nothing lies below")
    status, words = service.request("POST", "/events", b"{", TOKEN)
    assert status == 400
    assert json.loads(words)["error"].startswith("The body is no JSON; expected an event of MinIO or S3 (Records)")
    assert service.request("POST", "/events", b"x" * (8 << 20), TOKEN)[0] == 400
    assert too_large(service.port) == 413
    for number in range(3):
        assert service.send(s3_event(s3, f"cells2/{number}\n\x1b[2J.jpg")) == (202, {"triggers": []})
        assert service.send(s3_event("elsewhere", "cells/1.jpg")) == (202, {"triggers": []})
    assert service.log.count(f"an event for s3://{s3}/cells2/0\\n\\x1b[2J.jpg fits no trigger") == 1
    assert service.log.count("fits no trigger") == 2
    assert all(line[:2] == "20" and "+00:00 " in line for line in service.log.splitlines())


def test_it_needs_no_package_that_the_data_image_lacks(service: Service, client: Minio, s3: str) -> None:
    put(client, s3, "cells/a.jpg")
    service.wait(lambda: "started trigger-cells-" in service.command("--once").stdout)  # once the data is quiet
    code = "import sys; from sightline.cli import main; sys.argv[0] = 'sightline'\ntry: main()\n"
    code += "finally: print('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    done = service.command("--once", program=(sys.executable, "-c", code))
    submitted, loaded = done.stdout.splitlines()
    assert "submitted as trigger-cells-" in submitted
    of = packages_distributions()
    packages = {re.sub("[._]", "-", each).lower() for name in loaded.split() for each in of.get(name, [])}
    assert {"starlette", "uvicorn", "kfp-server-api"} <= packages
    held = lock.entries(lock.ROOT / "images" / "data" / "requirements.lock").keys()
    assert packages - held - {"sightline", "setuptools"} == set()  # the latter has a hook in every Python


def too_large(port: int) -> int:
    """The answer to a body without an end."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest("POST", "/events")
    connection.putheader("Authorization", f"Bearer {TOKEN}")
    connection.putheader("Content-Length", str(1 << 40))
    connection.endheaders(b"x" * ((8 << 20) + 1))
    try:
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_ends_at_once_whoever_is_connected(
    service: Service, kfp_server: StandIn, number: signal.Signals, code: int
) -> None:
    kfp_server.faults["GET /apis/v2beta1/healthz"] = ["hang"]
    service.start(SIGHTLINE_KFP_WAIT="300")
    service.wait(lambda: kfp_server.requests)
    with socket.create_connection(("127.0.0.1", service.port)) as half:
        half.sendall(b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n")
        assert service.request("GET", "/readyz")[0] == 503
        assert service.end(number) == code
    assert "Traceback" not in service.log


def test_what_the_command_cannot_start_with_is_one_message(service: Service, tmp_path: Path, s3: str) -> None:
    def refused(*arguments: str, **environment: str) -> str:
        done = service.command(*arguments, **environment)
        assert (done.returncode, done.stdout) == (2, "")
        return " ".join(done.stderr.split())

    assert refused().startswith("error: SIGHTLINE_TRIGGER_TOKEN is not set: a secret of one word of ASCII characters")
    assert "SIGHTLINE_TRIGGER_TOKEN holds no token" in refused(SIGHTLINE_TRIGGER_TOKEN="two words")
    with socket.create_server(("127.0.0.1", service.port)):
        message = refused("--port", str(service.port), SIGHTLINE_TRIGGER_TOKEN=TOKEN)
    assert message == (
        f"error: Cannot listen on port {service.port} of 127.0.0.1: address already in use. See --host and --port."
    )
    done = service.command("--dry-run")
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        [
            f"cells: s3://{s3}/cells, listed every 1 s; a run once it has been quiet for 1 s",
            f"  data = s3://{s3}/cells",
            "  retrain = changed",
        ],
    )
    declare(tmp_path, cells=f"s3://{s3}")
    assert "every run would be new data" in refused(SIGHTLINE_TRIGGER_TOKEN=TOKEN)
