"""Starting weights: found, pinned, and known to be a detector before anything unpickles them."""

from __future__ import annotations

import http.server
import importlib.util
import re
import shutil
import socket
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from sightline.config import WeightsConfig
from sightline.documents import Architecture, PinnedArchitecture, Weights, parse_weights
from sightline.errors import WeightsError
from sightline.storage import default_store, open_store, sha256_file
from sightline.validate.preflight import mistakes
from sightline.weights import FoundWeights, find, model_size, pin
from sightline.weights.official import ARCHITECTURES, KNOWN, LEAST_PARAMETERS, PINS
from sightline.weights.shipped import SHIPPED
from tests.helpers.networks import OWN


def found(**options: object) -> FoundWeights:
    with tempfile.TemporaryDirectory() as folder:
        return find(WeightsConfig.model_validate(options), open_store(default_store()), Path(folder))


def pinned(**options: object) -> Weights:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(default_store())
        return pin(find(WeightsConfig.model_validate(options), store, Path(folder)), store)


def test_official_file_is_known_by_its_digest(shared: Path) -> None:
    weights = pinned(source=str(shared / "weights" / "yolo11n.pt"))
    assert weights.sha256 == PINS["yolo11n.pt"][0]
    assert weights.licence == "AGPL-3.0"
    assert open_store(default_store()).exists(f"weights/{weights.sha256}.pt")


def test_official_name_comes_from_a_folder_of_weights(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_WEIGHTS", str(shared / "weights"))
    assert pinned(source="yolov8n").sha256 == PINS["yolov8n.pt"][0]


def test_official_name_comes_from_the_store_once_it_is_there(shared: Path) -> None:
    pinned(source=str(shared / "weights" / "yolo26n.pt"))
    assert pinned(source="yolo26n.pt").sha256 == PINS["yolo26n.pt"][0]


def test_weights_come_from_s3(shared: Path, s3: str) -> None:
    from sightline.storage import Transfer

    open_store(f"s3://{s3}").upload([Transfer("models/start.pt", shared / "weights" / "yolo11n.pt")])
    assert pinned(source=f"s3://{s3}/models/start.pt").sha256 == PINS["yolo11n.pt"][0]


def test_architecture_needs_no_file() -> None:
    weights = pinned(source="yolo12s.yaml")
    assert (weights.reference, weights.sha256) == (Architecture(architecture="yolo12s.yaml"), None)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere/best.pt", "no such file"),
        (
            "yolov9c.pt",
            "whose sha256 is not known here (known: yolov8 in n s m l x, yolov9 in e, yolov10 in n m, yolo11",
        ),
        ("yolov5nu.pt", "Pass the digest that you trust with --weights-sha256"),
        ("yolov10x", "'yolov10x.pt' is an official name whose sha256 is not known here"),
        ("yolo11x.pt", "is not in any cache"),
        ("yolo11n.pt", "is not in any cache"),
        ("yolo11.yaml", "with a size n, s, m, l or x, such as yolo11n.yaml"),
        ("yolo11m-seg.yaml", "no such file, and none of the engine's"),
        ("yolov8n-p5.yaml", "did you mean 'yolov8n-p6'?"),
        ("yolov8n-world.yaml", "no such file, and none of the engine's"),
        ("models/yolo11n.yaml", "got architecture 'models/yolo11n.yaml': no such file"),
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
    with pytest.raises(WeightsError, match=f"has sha256 {PINS['yolo11n.pt'][0]}, expected {'0' * 64}"):
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
        ({"weights.source": "yolo99.yaml", "train.lr0": 9}, ["train.lr0", "none of the engine's"]),
        ({"weights.download": True, "train.lr0": 9}, ["train.lr0", "is not in any cache"]),
        (
            {"weights.source": "yolo11n.yaml", "register.alias": "v1", "train.freeze": 24, "export.nms_free": True},
            ["register.alias", "has 24 layers; expected at most 23", "export.nms_free"],
        ),
        ({"weights.source": "yolo11n.yaml", "weights.sha256": "0" * 64}, ["without a weights file"]),
        ({"weights.source": "yolov8n-p6.yaml", "train.image_size": 640}, []),
        (
            {"weights.source": "yolov8n-p6.yaml", "train.image_size": 672},
            ["train.image_size: got 672, expected a multiple of 64, the stride of yolov8n-p6.yaml"],
        ),
        ({"weights.source": "yolov10s.yaml", "export.nms_free": True}, []),
        ({"weights.source": "yolov9s.yaml", "export.nms_free": True}, ["only yolov10 and yolo26 have one"]),
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
def test_a_checkpoint_says_its_layers_its_head_and_its_stride_without_torch(shared: Path, name: str) -> None:
    known = found(source=str(shared / "weights" / f"{name}.pt"))
    assert (known.layers, known.stride, known.nms_free) == SHIPPED[name][:3]


def test_a_checkpoint_made_from_a_network_of_large_stride_wants_such_images(shared: Path, tmp_path: Path) -> None:
    """It names its architecture; one of the same name and other layers is somebody's own."""
    source = shared / "weights" / "yolo11n.pt"
    strides = []
    for number, architecture in enumerate((b"yolo11m.yaml", b"yolov8n.yaml")):
        path = tmp_path / f"{number}.pt"
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                new.writestr(name, old.read(name).replace(b"yolo11n.yaml", architecture))
        strides.append(found(source=str(path), trust=True).stride)
    assert strides == [32, None]  # yolov8n has another number of layers


def test_exactly_the_accepted_digests_are_known(shared: Path) -> None:
    accepted, rest = (shared / "weights" / "PINS.md").read_text().split("## Single source: not accepted")
    rows = re.findall(r"^\| (\S+\.pt) \| ([0-9a-f]{64}) ", accepted, re.MULTILINE)
    assert len(rows) == 32
    assert sorted(rows) == sorted((name, digest) for name, digests in PINS.items() for digest in digests)
    single = re.findall(r"[0-9a-f]{64}", rest)
    assert len(single) == 7
    assert not KNOWN & set(single)


def test_every_release_of_an_official_file_is_right_for_its_name(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older file is taken from the store, which knows it by its digest alone."""
    older = PINS["yolov8n.pt"][1]
    store = open_store(default_store())
    store.put_bytes(f"weights/{older}.pt", (shared / "weights" / "yolo11n.pt").read_bytes())
    with pytest.raises(WeightsError, match=f"expected {PINS['yolov8n.pt'][0]} or {older} or "):
        pinned(source="yolov8n.pt")


def test_the_table_of_networks_is_the_engines_own() -> None:
    """Counted in the engine's files, without importing it; `make check` builds each of them."""
    place = Path(importlib.util.find_spec("ultralytics").submodule_search_locations[0]) / "cfg" / "models"
    files = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in place.glob("*/yolo*.yaml")}
    of_families = re.compile(r"yolov?(5|8|9|10|11|12|26)(?!\d)")
    plain = {
        stem
        for stem, described in files.items()
        if of_families.match(stem) and described["head"][-1][2] in ("Detect", "v10Detect")
    }
    described_by = {name: name if name in files else re.sub(r"^(yolov?\d+)[a-z]", r"\1", name) for name in SHIPPED}
    assert set(described_by.values()) == plain
    for name, network in SHIPPED.items():
        described = files[described_by[name]]
        assert network.layers == len(described["backbone"]) + len(described["head"]), name
        assert network.one_to_one == (bool(described.get("end2end")) or described["head"][-1][2] == "v10Detect"), name
        assert network.stride == (64 if name.endswith("-p6") else 32), name


def test_official_names_are_those_of_detectors_the_engine_ships() -> None:
    assert len(ARCHITECTURES) == 41
    assert set(ARCHITECTURES.values()) < set(SHIPPED)
    assert {name.removesuffix(".pt") for name in PINS} < set(ARCHITECTURES)


def test_a_network_is_as_large_as_its_letter_says_and_no_larger_than_its_parameters() -> None:
    names = {"yolov8m.pt": "m", "yolov8x": "x", "yolov10x.yaml": "l", "yolov9t.yaml": "n", "yolov9c.pt": "l"}
    names |= {"yolov5nu.pt": "n", "yolov5l6u.pt": "l", "yolov8x-ghost.yaml": "m", "yolov9e": "x", "mine.yaml": None}
    assert {name: model_size(name) for name in names} == names
    assert LEAST_PARAMETERS["n"] == min(network.parameters for network in SHIPPED.values())
    for size in "smlx":
        assert LEAST_PARAMETERS[size] == min(
            SHIPPED[f"{family}{size}"].parameters for family in ("yolov8", "yolo11", "yolo12", "yolo26")
        )


def own(folder: Path, text: str = OWN, name: str = "mine-yolo11n.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_network_of_ones_own_is_pinned_by_what_it_says(tmp_path: Path) -> None:
    known = pinned(source=str(own(tmp_path)), trust=True)
    reference = known.reference
    assert isinstance(reference, PinnedArchitecture)
    assert known.licence == "unknown"
    assert reference.architecture_uri == f"{open_store(default_store()).uri}/weights/{known.sha256}.yaml"
    assert parse_weights(reference.text()) == reference
    kept = open_store(default_store()).get_bytes(f"weights/{known.sha256}.yaml")
    assert yaml.safe_load(kept) == {**yaml.safe_load(OWN), "scales": {"n": [0.5, 0.25, 1024]}}
    spelled = OWN.replace("0.50", "0.5").replace("- [-1, 1, Conv, [64, 3, 2]]", "- [ -1, 1, Conv, [64, 3, 2]]  # first")
    assert pinned(source=str(own(tmp_path, spelled)), trust=True).sha256 == known.sha256
    others = [own(tmp_path, name="mine-yolo11s.yaml"), own(tmp_path, OWN.replace("0.1", "0.2"), "mine-yolo11n.yml")]
    assert len({known.sha256, *(pinned(source=str(other), trust=True).sha256 for other in others)}) == 3


def test_a_network_of_ones_own_is_read_only_with_consent(tmp_path: Path) -> None:
    path = own(tmp_path)
    for options in ({}, {"sha256": sha256_file(path)}):
        with pytest.raises(WeightsError, match="evaluates a part as code"):
            pinned(source=str(path), **options)
    assert pinned(source=str(path), sha256=sha256_file(path), trust=True).sha256
    with pytest.raises(WeightsError, match=f"has sha256 {sha256_file(path)}, expected {'0' * 64}"):
        pinned(source=str(path), sha256="0" * 64, trust=True)


def test_a_network_of_ones_own_comes_from_s3(s3: str, tmp_path: Path) -> None:
    from sightline.storage import Transfer

    path = own(tmp_path)
    open_store(f"s3://{s3}").upload([Transfer("nets/mine-yolo11n.yaml", path)])
    fetched = pinned(source=f"s3://{s3}/nets/mine-yolo11n.yaml", trust=True)
    assert fetched.sha256 == pinned(source=str(path), trust=True).sha256


def test_an_engines_name_means_the_engines_network_whatever_lies_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own(tmp_path, name="yolo11n.yaml")
    assert pinned(source="yolo11n.yaml").reference == Architecture(architecture="yolo11n.yaml")
    assert pinned(source="./yolo11n.yaml", trust=True).sha256


def test_what_a_network_of_ones_own_does_not_support_is_said_with_the_rest(tmp_path: Path) -> None:
    deep = OWN.replace("- [-1, 1, nn.MaxPool2d, [2]]", "- [-1, 1, nn.MaxPool2d, [8]]")
    values = {"weights.source": str(own(tmp_path, deep)), "weights.trust": True, "train.image_size": 96}
    problems = mistakes("fast", {**values, "train.freeze": 10, "export.nms_free": True}, source=None, store=None)
    assert [problem.partition(":")[0] for problem in problems] == [
        "train.freeze",
        "train.image_size",
        "export.nms_free",
    ]
    assert "has 10 layers; expected at most 9" in problems[0]
    assert "expected a multiple of 64, the stride of" in problems[1]


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
    assert pinned(source="yolo11n.pt", download=True).sha256 == PINS["yolo11n.pt"][0]
    (mirror / "yolo11n.pt").unlink()
    assert pinned(source="yolo11n.pt").sha256 == PINS["yolo11n.pt"][0]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\nabc",  # broken off
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nabc",
        b"not HTTP at all\r\n\r\n",
        b"",
    ],
)
def test_a_download_that_breaks_off_is_one_message(
    answer: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with listening.accept()[0] as connection:
                connection.recv(65_536)
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        monkeypatch.setenv("SIGHTLINE_WEIGHTS_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
        with pytest.raises(WeightsError, match=r"could not be downloaded|was deleted"):
            pinned(source="yolo11n.pt", download=True)
    assert not list((tmp_path / "cache").rglob("*.p*t"))


@pytest.mark.parametrize("address", ["mirror.example", "http://two words"])
def test_a_download_from_no_address_is_one_message(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_WEIGHTS_URL", address)
    with pytest.raises(WeightsError, match="could not be downloaded"):
        pinned(source="yolo11n.pt", download=True)


def test_download_of_other_bytes_is_thrown_away(mirror: Path, tmp_path: Path) -> None:
    (mirror / "yolo11n.pt").write_bytes(b"something else")
    with pytest.raises(WeightsError, match="was deleted"):
        pinned(source="yolo11n.pt", download=True)
    with pytest.raises(WeightsError, match="could not be downloaded"):
        pinned(source="yolov8n.pt", download=True)
    assert not list((tmp_path / "cache").rglob("*.p*t"))
