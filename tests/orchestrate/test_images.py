"""Tags of images and the references that a run uses: no engine is needed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sightline import __version__
from sightline.errors import ConfigError
from sightline.orchestrate import images

ROOT = Path(__file__).parents[2]
COMPILED = ROOT / "pipelines" / "compiled" / "train.yaml"
BASE = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what goes into images, and of some pages that do not."""
    root = tmp_path_factory.mktemp("tree")
    for path in (*images.SHARED, "README.md"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, root / path)
    for tree in (*images.TREES, *(f"images/{name}" for name in images.NAMES)):
        shutil.copytree(ROOT / tree, root / tree, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture
def root(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "tree"))


def tags(root: Path, base: str = BASE, variant: str = "") -> dict[str, str]:
    return {
        name: images.tag(name, base=base, variant=variant if name == "infer" else "", root=root)
        for name in images.NAMES
    }


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def append(root: Path, path: str, text: str = "# another line\n") -> None:
    with (root / path).open("a") as file:
        file.write(text)


def test_a_tag_is_the_version_and_a_digest_and_the_same_for_the_same_content(root: Path, original: Path) -> None:
    found = tags(root)
    assert all(re.fullmatch(re.escape(__version__) + "-[0-9a-f]{12}", tag) for tag in found.values())
    assert len(set(found.values())) == 3
    assert tags(original) == found


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("src/sightline/boxes.py", {"data", "train", "infer"}),
        ("pipelines/compiled/train.yaml", {"data", "train", "infer"}),
        ("pyproject.toml", {"data", "train", "infer"}),
        (".dockerignore", {"data", "train", "infer"}),
        ("images/install.sh", {"data", "train", "infer"}),
        ("images/build.lock", {"data", "train", "infer"}),
        ("images/train/Dockerfile", {"train"}),
        ("images/train/requirements.lock", {"data", "train", "infer"}),  # the wheel holds the list
        ("images/infer/requirements-cpu.lock", set()),
        ("README.md", set()),
        ("src/sightline/README.md", set()),
        ("src/sightline/__pycache__/boxes.cpython-311.pyc", set()),
        ("src/sightline/.env", set()),
        ("src/sightline/.boxes.py.swp", set()),
        ("src/sightline/boxes.py~", set()),
        ("src/sightline/.ipynb_checkpoints/boxes-checkpoint.py", set()),
    ],
)
def test_a_changed_line_gives_another_tag_to_the_images_that_it_is_in(
    root: Path, path: str, expected: set[str]
) -> None:
    before = tags(root)
    (root / path).parent.mkdir(exist_ok=True)
    append(root, path)
    assert changed(before, tags(root)) == expected


def test_another_base_gives_other_tags(root: Path) -> None:
    assert changed(tags(root), tags(root, base="sha256:" + "1" * 64)) == {"data", "train", "infer"}


def test_the_variant_without_cuda_has_a_tag_of_its_own_and_follows_its_list(root: Path) -> None:
    cpu = tags(root, variant="cpu")
    assert changed(tags(root), cpu) == {"infer"}
    append(root, "images/infer/requirements-cpu.lock")
    assert changed(cpu, tags(root, variant="cpu")) == {"infer"}


def test_a_file_that_is_added_gives_other_tags(root: Path) -> None:
    before = tags(root)
    append(root, "src/sightline/new.py")
    assert changed(before, tags(root)) == {"data", "train", "infer"}


GIVEN = {name: f"registry.example:5000/team/sightline-{name}:1.0-abc" for name in images.NAMES}


def test_other_references_change_nothing_else_in_the_compiled_pipeline() -> None:
    text = COMPILED.read_text()
    found = images.with_references(text, GIVEN)
    pairs = [(old, new) for old, new in zip(text.split("\n"), found.split("\n"), strict=True) if old != new]
    assert len(pairs) == text.count(" image: ")
    for old, new in pairs:
        name = re.search("sightline-(data|train|infer):", old)
        assert name
        assert new == old.partition("image: ")[0] + "image: " + GIVEN[name[1]]
    assert images.with_references(text, {}) == text


def test_references_are_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(images.VARIABLE, ", ".join(GIVEN.values()))
    assert images.references() == GIVEN


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("busybox", "got 'busybox', expected the references of the three images"),
        (GIVEN["data"], "sightline-train and sightline-infer missing"),
        (f"{','.join(GIVEN.values())},x/sightline-other:1", "got 'x/sightline-other:1'"),
    ],
    ids=["another image", "one of three", "one too many"],
)
def test_references_that_cannot_be_used_are_refused(monkeypatch: pytest.MonkeyPatch, text: str, expected: str) -> None:
    monkeypatch.setenv(images.VARIABLE, text)
    with pytest.raises(ConfigError, match=expected):
        images.references()


@pytest.fixture
def built(root: Path) -> Callable[[], dict[str, str]]:
    """Write down a build of the tree, and return what a run in that tree would use."""
    found = tags(root)
    record = images.Built(
        images={
            name: images.BuiltImage(
                reference=f"registry.example/sightline-{name}:{found[name]}",
                base=BASE,
                variant="",
                id="sha256:1",
                size=1,
            )
            for name in images.NAMES
        }
    )
    (root / images.BUILT).write_text(record.model_dump_json())
    return lambda: images.built_references(root)


def test_the_last_build_is_used_while_the_sources_are_its_own(root: Path, built: Callable[[], dict[str, str]]) -> None:
    assert {name: reference.rpartition(":")[2] for name, reference in built().items()} == tags(root)
    append(root, "images/train/Dockerfile")
    with pytest.raises(
        ConfigError, match=r"The sources have changed since sightline-train was built. Run `make images`"
    ):
        built()


def test_no_build_and_a_damaged_record_say_make_images(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"No images have been built from .*make images"):
        images.built_references(root)
    (root / images.BUILT).write_text("{")
    with pytest.raises(ConfigError, match=r"is damaged. Run `make images` again"):
        images.built_references(root)
