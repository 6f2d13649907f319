"""Starting weights: found, pinned, and known to be a detector before anything unpickles them."""

from __future__ import annotations

import http.server
import importlib.util
import shutil
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from sightline.config import WeightsConfig
from sightline.documents import Architecture, Weights
from sightline.errors import WeightsError
from sightline.storage import default_store, open_store, sha256_file
from sightline.validate.preflight import mistakes
from sightline.weights import LAYERS, NAMES, NMS_FREE, PINS, FoundWeights, find, pin


def found(**options: object) -> FoundWeights:
    with tempfile.TemporaryDirectory() as folder:
        return find(WeightsConfig.model_validate(options), open_store(default_store()), Path(folder))


def pinned(**options: object) -> Weights:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(default_store())
        return pin(find(WeightsConfig.model_validate(options), store, Path(folder)), store)


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
    assert (weights.reference, weights.sha256) == (Architecture(architecture="yolo12s.yaml"), None)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere/best.pt", "no such file"),
        ("yolo11x.pt", "whose sha256 is not known here"),
        ("yolo11n.pt", "is not in any cache"),
        ("yolo11.yaml", "with a size n, s, m, l or x"),
        ("yolo11m-seg.yaml", "expected one of"),
        ("yollo11n.pt", "did you mean 'yolo11n'? Give a path"),
        ("yolo11n-pose.pt", "did you mean 'yolo11n'? Give a path"),
        ("yolov8s-seg.pt", "did you mean 'yolov8s'? Give a path"),
        ("zzz.pt", "no official name. Give a path"),
        ("a" * 5000, "(5000 characters)' was not found"),
        ("~no-such-user/best.pt", "no such file"),
        ("s3://bucket", "weights.source: 's3://bucket' names no object; expected s3://bucket/key"),
        ("s3://bucket/", "weights.source: 's3://bucket/' names no object"),
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


def test_file_without_a_known_digest_needs_consent(shared: Path, tmp_path: Path) -> None:
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
    with pytest.raises(WeightsError, match="is not a PyTorch checkpoint"):
        pinned(source=str(tmp_path / "x.pt"), trust=True)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"weights.source": "nowhere/a.pt", "train.epoch": 1}, ["train.epochs", "no such file"]),
        ({"weights.source": "yolo11n.yaml"}, []),
        ({"weights.source": "yolo99.yaml", "train.lr0": 9}, ["train.lr0", "expected one of"]),
        ({"weights.download": True, "train.lr0": 9}, ["train.lr0", "is not in any cache"]),
        (
            {"weights.source": "yolo11n.yaml", "register.alias": "v1", "train.freeze": 24, "export.nms_free": True},
            ["register.alias", "has 24 layers; expected at most 23", "export.nms_free"],
        ),
        ({"weights.source": "yolo11n.yaml", "weights.sha256": "0" * 64}, ["without a weights file"]),
    ],
)
def test_all_that_is_wrong_with_settings_and_weights_is_said_at_once(
    values: dict[str, object], words: list[str]
) -> None:
    problems = mistakes("balanced", values, source=None, store=default_store())
    assert len(problems) == len(words), problems
    for problem, word in zip(problems, words, strict=True):
        assert word in problem


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "yolo26n"])
def test_a_checkpoint_says_its_layers_and_its_head_without_torch(shared: Path, name: str) -> None:
    known = found(source=str(shared / "weights" / f"{name}.pt"))
    family = name[:-1]
    assert (known.layers, known.nms_free) == (LAYERS[family], family in NMS_FREE)


def test_the_table_of_official_architectures_is_the_engines_own() -> None:
    """Counted in the engine's files, without importing it."""
    (models,) = [
        Path(place) / "cfg" / "models" for place in importlib.util.find_spec("ultralytics").submodule_search_locations
    ]
    for name in {name[:-1] for name in NAMES}:
        (path,) = models.glob(f"*/{name}.yaml")
        described = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert LAYERS[name] == len(described["backbone"]) + len(described["head"]), name
        assert (name in NMS_FREE) == bool(described.get("end2end")), name


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
    with pytest.raises(WeightsError, match="was deleted"):
        pinned(source="yolo11n.pt", download=True)
    with pytest.raises(WeightsError, match="could not be downloaded"):
        pinned(source="yolov8n.pt", download=True)
    assert not list((tmp_path / "cache").rglob("*.p*t"))
