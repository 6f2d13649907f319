"""Starting weights: found, pinned, and known to be a detector before anything unpickles them."""

from __future__ import annotations

import http.server
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from sightline.config import WeightsConfig
from sightline.errors import WeightsError
from sightline.storage import default_store, open_store, sha256_file
from sightline.validate.weights import PINS, mistakes, pin


def pinned(**options: object):
    return pin(WeightsConfig.model_validate(options), open_store(default_store()))


def test_official_file_is_known_by_its_digest(shared: Path) -> None:
    weights = pinned(source=str(shared / "weights" / "yolo11n.pt"))
    assert weights.sha256 == PINS["yolo11n.pt"]
    assert weights.licence == "AGPL-3.0"
    assert open_store(default_store()).exists(f"weights/{weights.sha256}.pt")


def test_official_name_comes_from_a_folder_of_weights(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_WEIGHTS", str(shared / "weights"))
    assert pinned(source="yolov8n").sha256 == PINS["yolov8n.pt"]


def test_official_name_comes_from_the_store_once_it_is_there(shared: Path) -> None:
    pinned(source=str(shared / "weights" / "yolo26n.pt"))
    assert pinned(source="yolo26n.pt").sha256 == PINS["yolo26n.pt"]


def test_weights_come_from_s3(shared: Path, s3: str) -> None:
    from sightline.storage import Transfer

    open_store(f"s3://{s3}").upload([Transfer("models/start.pt", shared / "weights" / "yolo11n.pt")])
    assert pinned(source=f"s3://{s3}/models/start.pt").sha256 == PINS["yolo11n.pt"]


def test_architecture_needs_no_file() -> None:
    weights = pinned(source="yolo12s.yaml")
    assert (weights.architecture, weights.uri, weights.sha256) == ("yolo12s.yaml", None, None)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere/best.pt", "no such file"),
        ("yolo11x.pt", "without a sha256 known here"),
        ("yolo11n.pt", "is in no cache"),
        ("yolo11.yaml", "with a size n, s, m, l or x"),
        ("yolo11m-seg.yaml", "expected one of"),
        ("yollo11n.pt", "did you mean 'yolo11n'?"),
    ],
)
def test_what_cannot_be_found_says_what_can(source: str, words: str) -> None:
    with pytest.raises(WeightsError) as caught:
        pinned(source=source)
    assert words in str(caught.value)


def test_pose_checkpoint_is_refused_by_its_opcodes(shared: Path) -> None:
    with pytest.raises(WeightsError, match="holds PoseModel, expected DetectionModel"):
        pinned(source=str(shared / "weights" / "yolo11n-pose.pt"), trust=True)


def test_wrong_digest_is_refused(shared: Path) -> None:
    with pytest.raises(WeightsError, match=f"has sha256 {PINS['yolo11n.pt']}, expected {'0' * 64}"):
        pinned(source=str(shared / "weights" / "yolo11n.pt"), sha256="0" * 64)


def test_file_nobody_vouched_for_needs_a_word(shared: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.pt"
    shutil.copy(shared / "weights" / "yolo11n.pt", mine)
    with mine.open("ab") as file:
        file.write(b"\0")  # another digest; zip files may be followed by a byte
    with pytest.raises(WeightsError, match="--trust-weights"):
        pinned(source=str(mine))
    assert pinned(source=str(mine), trust=True).sha256 == sha256_file(mine)
    assert pinned(source=str(mine), sha256=sha256_file(mine)).sha256 == sha256_file(mine)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 broken"])
def test_what_is_no_checkpoint_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(WeightsError, match="is no PyTorch checkpoint"):
        pinned(source=str(tmp_path / "x.pt"), trust=True)


def test_mistake_is_told_beside_other_mistakes() -> None:
    assert "no such file" in mistakes(WeightsConfig(), {"weights.source": "nowhere/a.pt", "train.epoch": 1})[0]
    assert mistakes(WeightsConfig(), {"weights.source": "yolo11n.yaml"}) == []
    assert mistakes(WeightsConfig(source="yolo11n.yaml"), {"train.epoch": 1}) == []
    assert "expected one of" in mistakes(WeightsConfig(), {"weights.source": "yolo99.yaml"})[0]
    assert "is in no cache" in mistakes(WeightsConfig(), {"weights.download": True})[0]


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder served over HTTP in place of the vendor's releases."""
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("SIGHTLINE_WEIGHTS_URL", f"http://127.0.0.1:{server.server_port}")
        yield folder
        server.shutdown()


def test_download_is_opt_in_verified_and_kept(shared: Path, mirror: Path) -> None:
    shutil.copy(shared / "weights" / "yolo11n.pt", mirror)
    with pytest.raises(WeightsError, match="--download"):
        pinned(source="yolo11n.pt")
    assert pinned(source="yolo11n.pt", download=True).sha256 == PINS["yolo11n.pt"]
    (mirror / "yolo11n.pt").unlink()
    assert pinned(source="yolo11n.pt").sha256 == PINS["yolo11n.pt"]


def test_download_of_other_bytes_is_thrown_away(mirror: Path, tmp_path: Path) -> None:
    (mirror / "yolo11n.pt").write_bytes(b"something else")
    with pytest.raises(WeightsError, match="thrown away"):
        pinned(source="yolo11n.pt", download=True)
    with pytest.raises(WeightsError, match="could not be downloaded"):
        pinned(source="yolov8n.pt", download=True)
    assert not list((tmp_path / "cache").rglob("*.p*t"))
