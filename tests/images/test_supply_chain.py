"""What the lists of the images may hold."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from images import lock, supply_chain

FILES = (lock.EVERYTHING, "bootstrap.lock", lock.BUILD, *lock.IMAGES)
MINIO = "minio==7.2.20"
INDEX = "--index-url"  # an option that no list of ours has


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of all lists."""
    for path in FILES:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(lock.ROOT / path, tmp_path / path)
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_lists_are_in_order(root: Path) -> None:
    assert list(supply_chain.problems(root)) == []


def test_another_version_than_the_tests_have_is_found(root: Path) -> None:
    edit(root / "images/data/requirements.lock", MINIO, "minio==7.2.19")
    assert list(supply_chain.problems(root)) == [
        "images/data/requirements.lock: got minio 7.2.19, expected 7.2.20 as in requirements.lock. Run `make lock`."
    ]


def test_the_address_of_a_registry_is_found(root: Path) -> None:
    edit(root / lock.BUILD, "arrow==", f"{INDEX} https://user:secret@packages.example/simple\narrow==")
    assert [problem.partition(": ")[0] for problem in supply_chain.problems(root)] == ["images/build.lock:1"]


@pytest.mark.parametrize(
    "line",
    [
        *("-f /opt/wheels", "-r other.txt", "foo @ git+ssh://git@x.example/foo", "foo>=1.0", "foo[extra]==1.0"),
        *("Django==1.0", "foo==1.*", f"    {INDEX} https://x.example", "foo==1.0 ; x @ y", "arrow==1.4.0 \\"),
    ],
)
def test_a_line_that_a_list_should_not_have_is_found(root: Path, line: str) -> None:
    path = root / lock.BUILD
    path.write_text(path.read_text() + line + "\n")
    number = len(path.read_text().splitlines())
    assert f"images/build.lock:{number}" in [problem.partition(": ")[0] for problem in supply_chain.problems(root)]


def test_a_list_that_is_missing_is_one_message(root: Path) -> None:
    (root / "images/data/requirements.lock").unlink()
    (root / lock.BUILD).unlink()
    assert list(supply_chain.problems(root)) == [
        f"images/build.lock, images/data/requirements.lock missing in {root}. Run `make lock`."
    ]


def test_a_licence_that_is_not_known_counts_beside_one_that_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "two_licences-1.0.dist-info"
    folder.mkdir()
    approved = "Classifier: License :: OSI Approved"
    head = f"Metadata-Version: 2.1\nName: two-licences\nVersion: 1.0\n{approved}\n{approved} :: MIT License\n"
    (folder / "METADATA").write_text(head)
    monkeypatch.syspath_prepend(tmp_path)
    assert supply_chain.licence("two-licences") == "MIT"
    (folder / "METADATA").write_text(f"{head}Classifier: License :: Other/Proprietary License\n")
    assert supply_chain.licence("two-licences") is None


def test_a_package_without_a_hash_is_found(root: Path) -> None:
    with (root / "images/infer/requirements.lock").open("a") as file:
        file.write("rich-none==1.0\n")
    found = list(supply_chain.problems(root))
    assert found[0] == "images/infer/requirements.lock: rich-none has no hash. Run `make lock`."
    assert "its metadata says no licence that is known here" in found[1]


def test_licences_that_do_not_go_with_ours_are_found() -> None:
    assert supply_chain.allowed("Apache-2.0 AND (MIT OR GPL-2.0-only)")
    assert not supply_chain.allowed("GPL-2.0-only")
    assert not supply_chain.allowed("MIT AND LicenseRef-NVIDIA-Proprietary")


def test_nvidias_libraries_are_named_one_by_one() -> None:
    held = {name for path in lock.IMAGES for name in lock.entries(lock.ROOT / path)}
    assert supply_chain.NVIDIA.keys() <= held
    proprietary = {name for name in held if name.startswith("nvidia-") and name not in supply_chain.NVIDIA}
    assert {name: supply_chain.licence(name) for name in proprietary} == {
        "nvidia-ml-py": "BSD-3-Clause",
        "nvidia-nccl-cu13": "BSD-3-Clause",
        "nvidia-nvtx": "Apache-2.0",
    }


def test_kfp_is_in_every_image_and_its_dependencies_are_not() -> None:
    for path in lock.IMAGES:
        held = lock.entries(lock.ROOT / path)
        assert "kfp" in held
        assert "google-cloud-storage" not in held
        assert ("kfp-server-api" in held) == (path == "images/data/requirements.lock")  # of which the trigger runs


def test_only_tasks_that_ask_kubernetes_have_its_client() -> None:
    asks = {path for path in lock.IMAGES if "kubernetes" in lock.entries(lock.ROOT / path)}
    assert asks == {"images/data/requirements.lock", "images/train/requirements.lock"}
