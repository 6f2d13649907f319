"""What every test shares: markers by folder and fixture, the real data, and a private place for all that is written."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.command import sightline
from tests.helpers.finished_run import Finished, run_quickstart
from tests.helpers.kfp_serving import serving
from tests.helpers.kfp_stand_in import StandIn
from tests.helpers.kubernetes_double import KubernetesDouble
from tests.helpers.kubernetes_double import serving as kubernetes_serving
from tests.helpers.s3_server import S3Server, s3_serving
from tests.helpers.servers import mlflow_serving
from tests.helpers.sets import refuse, rejected, sets, validate  # noqa: F401  fixtures of many folders

E2E, CLUSTER = Path(__file__).parent / "e2e", Path(__file__).parent / "cluster"
# What a test asks for says what it costs: a marker for each of these fixtures, also where another fixture asks for it.
MARKERS = {
    "shared": "data",
    "own_s3_server": "server",
    "s3_server": "server",
    "mlflow_server": "server",
    "postgres": "server",
    "quickstart": "e2e",
    "engine": "images",
}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give a test its markers, before `-m` looks at them."""
    fixtures = getattr(item, "fixturenames", ())
    for name in {marker for fixture, marker in MARKERS.items() if fixture in fixtures}:
        item.add_marker(name)
    if E2E in item.path.parents:
        item.add_marker("e2e")
    if CLUSTER in item.path.parents:
        item.add_marker("cluster")
        item.add_marker(pytest.mark.timeout(2700))  # for whichever comes first and waits for the slowest run
    if "quickstart" in fixtures:  # trained once, in the one process that has all these tests: it takes minutes
        item.add_marker(pytest.mark.xdist_group("quickstart"))
        item.add_marker(pytest.mark.timeout(900))  # for whichever comes first and waits for it on a busy machine


def pytest_make_parametrize_id(val: object) -> str | None:
    """Cut what is long out of a test's name: some tests take texts of a megabyte."""
    return f"{val[:40]!a}... {len(val)}" if isinstance(val, str | bytes) and len(val) > 150 else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what takes minutes, images or a cluster unless `-m` names it, and what needs a GPU where there is none."""
    if item.get_closest_marker("slow") and "slow" not in item.config.option.markexpr:
        pytest.skip("slow tests run with -m slow")
    if item.get_closest_marker("images") and "images" not in item.config.option.markexpr:
        pytest.skip("tests of the images run with `make test-images`")
    if item.get_closest_marker("cluster") and "cluster" not in item.config.option.markexpr:
        pytest.skip("tests on a real cluster run with `make test-cluster`")
    if item.get_closest_marker("gpu"):
        from sightline.detect import cuda_devices

        if not cuda_devices():
            pytest.skip("needs an NVIDIA GPU, and the driver shows none here")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the real datasets and checkpoints."""
    path = os.environ.get("SIGHTLINE_TEST_DATA")
    if not path:
        pytest.skip("SIGHTLINE_TEST_DATA is not set: no real datasets to test on")
    return Path(path).resolve()


@pytest.fixture(autouse=True)
def private(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep caches, stores and tracking of a test inside its own folder, and a cluster of the user's out of it."""
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SIGHTLINE_STORE", f"file://{tmp_path}/store")
    monkeypatch.setenv("SIGHTLINE_RUNS", str(tmp_path / "runs"))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "SIGHTLINE_PROGRESS"):
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in () if request.node.get_closest_marker("cluster") else ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def own_s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server for one test alone, which may kill it."""
    with s3_serving(tmp_path_factory.mktemp("own-s3")) as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server with three users, for all tests."""
    with s3_serving(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server, private: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of an empty bucket on that server; the environment holds its address and credentials for everything."""
    for name, value in s3_server.variables().items():
        monkeypatch.setenv(name, value)
    return s3_server.empty_bucket()


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an MLflow server with a database, artifacts and model registry of its own."""
    with mlflow_serving(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


@pytest.fixture
def kfp_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """A stand-in for Kubeflow Pipelines, which the environment names, and nothing of the user's own settings."""
    for name in [name for name in os.environ if name.startswith(("KFP_", "KF_PIPELINES_", "SIGHTLINE_IMAGES"))]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.delenv("SIGHTLINE_STORE")
    with serving() as state:
        monkeypatch.setenv("KFP_ENDPOINT", state.address)
        yield state


@pytest.fixture
def kubernetes_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KubernetesDouble]:
    """A double of Kubernetes' API server, empty, which the user's kubeconfig names."""
    with kubernetes_serving() as state:
        monkeypatch.setenv("KUBECONFIG", str(state.kubeconfig(tmp_path)))
        yield state


@pytest.fixture
def closed_address() -> Iterator[str]:
    """Address at which no server listens; the port is held, so that none starts there."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture(scope="session")
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `sightline`: `command("run", "--json", cwd=folder, VARIABLE="value")`."""
    return sightline


@pytest.fixture(scope="session")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The quickstart, run once for the whole session."""
    return run_quickstart(tmp_path_factory.mktemp("quickstart"))
