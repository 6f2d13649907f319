"""Tracking that is switched off asks no server; a switch that is neither on nor off is a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.config import RegisterConfig
from sightline.errors import ConfigError, TrackingError
from sightline.orchestrate import tracking_server
from sightline.tracking import address, check, reach, server


def known(monkeypatch: pytest.MonkeyPatch, **environment: str) -> list[str]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with check.asking(address.tracking_uri(), RegisterConfig()) as asked:
        assert asked.child is None, "no process that loads MLflow is started"
        return asked.problems()


def test_off_asks_no_server_whatever_address_is_set(
    monkeypatch: pytest.MonkeyPatch, closed_address: str, tmp_path: Path
) -> None:
    given = {"MLFLOW_TRACKING_URI": closed_address, "MLFLOW_REGISTRY_URI": "garbage://x"}
    assert len(known(monkeypatch, **given)) == 2
    assert known(monkeypatch, SIGHTLINE_TRACKING="off") == []
    assert reach.connection_problems(address.tracking_uri()) == []
    assert tracking_server.problems(tmp_path, RegisterConfig()) == []
    with tracking_server.serving(tmp_path, tmp_path) as serving:
        assert serving is None


def test_a_switch_that_is_neither_on_nor_off_is_said_before_and_never_taken_for_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (problem,) = known(monkeypatch, SIGHTLINE_TRACKING="false")
    assert problem.startswith("SIGHTLINE_TRACKING is 'false', expected on or off (in YAML with quotes")
    assert reach.connection_problems(address.tracking_uri()) == [problem]
    with pytest.raises(ConfigError, match="expected on or off"), server.client("sqlite://"):
        pass
    assert known(monkeypatch, SIGHTLINE_TRACKING="on") == []


def test_in_a_pod_of_a_pipeline_run_a_server_counts_and_no_file(
    monkeypatch: pytest.MonkeyPatch, closed_address: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("KFP_POD_NAME", "report-x2f-1")
    monkeypatch.setenv("KFP_POD_UID", "0e5f")
    monkeypatch.setenv("SIGHTLINE_TRACKING_WAIT", "0")
    (problem,) = known(monkeypatch, MLFLOW_TRACKING_URI=closed_address)
    assert "connection refused. Start one, fix MLFLOW_TRACKING_URI, or switch tracking off with SIGHTLINE_TR" in problem
    _, registry = known(monkeypatch, MLFLOW_REGISTRY_URI=f"sqlite:///{tmp_path}/models.db")
    assert registry.startswith(f"MLFLOW_REGISTRY_URI is 'sqlite:///{tmp_path}/models.db', and a database in this pod")
    assert "Set MLFLOW_REGISTRY_URI, such as http://server:5000, in the ConfigMap" in registry
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    uri = address.tracking_uri()
    assert uri
    with pytest.raises(TrackingError, match="MLFLOW_TRACKING_URI is not set"), server.client(uri):
        pass
