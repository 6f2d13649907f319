"""What is in an image: the packages of its list, the project, and nothing else."""

from __future__ import annotations

import hashlib

from images.lock import ROOT, entries
from sightline import __version__
from tests.helpers.built_images import BuiltImages

INSTALLED = """
import importlib.metadata as m, json, re
print(json.dumps({re.sub("[-_.]+", "-", d.name).lower(): d.version for d in m.distributions()}))
"""
TOOLS = ("gcc", "cc", "g++", "c++", "clang", "ld", "as", "make", "uv", "pytest", "ruff", "mypy")
FOUND = "import json, shutil; print(json.dumps([name for name in {names!r} if shutil.which(name)]))"
IMPORTABLE = "import importlib.util, json; print(json.dumps([n for n in {names!r} if importlib.util.find_spec(n)]))"
DIGESTS = """
import hashlib, json, pathlib, sightline
root = pathlib.Path(sightline.__file__).parent
files = [p for p in root.rglob("*") if p.is_file() and p.suffix != ".pyc"]
print(json.dumps({str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}))
"""
MEGABYTES = {"data": 420, "train": 7300, "infer": 3400, "infercpu": 650}  # without the base
SILENT = {"cuda-toolkit", "faster-coco-eval"}  # their metadata says no licence
NO_TEXT = {"cuda_toolkit"}  # it has no file of its own
ABSENT = {
    "data": ("torch", "torchvision", "ultralytics", "onnxruntime", "sqlalchemy", "pip"),
    "train": ("mlflow", "pip"),
    "infer": ("torch", "torchvision", "ultralytics", "mlflow", "pandas", "pip"),
}


def versions(built_images: BuiltImages, name: str) -> dict[str, str]:
    return {package: version for package, (version, _) in entries(built_images.packages(name)).items()}


def test_the_packages_are_those_of_the_list(built_images: BuiltImages, name: str) -> None:
    installed = built_images.python(name, INSTALLED)
    installed.pop("sightline")
    assert installed == versions(built_images, name)


def test_the_bill_of_materials_is_the_list(built_images: BuiltImages, name: str) -> None:
    bom = built_images.python(name, "print(open('/opt/sightline/share/sbom.cdx.json').read())")
    assert bom["bomFormat"] == "CycloneDX"
    components = {part["name"]: part["version"] for part in bom["components"]}
    assert components == versions(built_images, name)
    about = bom["metadata"]["component"]
    assert (about["name"], about["version"]) == (f"sightline-{name}", __version__)
    assert about["licenses"]
    assert {part["name"] for part in bom["components"] if not part.get("licenses")} <= SILENT
    hashed = [part for part in bom["components"] if part["externalReferences"][0]["hashes"]]
    assert len(hashed) == len(components)


def test_each_package_brings_its_licence(built_images: BuiltImages, name: str) -> None:
    done = built_images.run(name, "find", "/opt/sightline/share/licences", "-type", "f")
    with_files = {line.split("/")[5].rpartition("-")[0] for line in done.stdout.splitlines()}
    expected = {package.replace("-", "_").replace(".", "_") for package in (*versions(built_images, name), "sightline")}
    assert {package.replace(".", "_").replace("-", "_").lower() for package in with_files} == expected


def test_a_licence_has_its_text_or_its_notice(built_images: BuiltImages, name: str) -> None:
    done = built_images.run(name, "find", "/opt/sightline/share/licences", "-type", "f", "!", "-name", "METADATA")
    with_text = {line.split("/")[5].rpartition("-")[0].replace(".", "_").lower() for line in done.stdout.splitlines()}
    expected = {package.replace("-", "_").replace(".", "_") for package in (*versions(built_images, name), "sightline")}
    assert expected - with_text <= NO_TEXT


def test_nothing_lies_beside_the_environment(built_images: BuiltImages, name: str) -> None:
    done = built_images.run(name, "ls", "/opt/sightline")
    assert set(done.stdout.split()) == {"bin", "include", "lib", "lib64", "pyvenv.cfg", "share"}


def test_no_tools_are_left(built_images: BuiltImages, name: str) -> None:
    assert built_images.python(name, FOUND.format(names=TOOLS)) == []


def test_an_image_has_only_what_its_stages_need(built_images: BuiltImages, name: str) -> None:
    assert built_images.python(name, IMPORTABLE.format(names=ABSENT[name])) == []


def test_the_project_in_an_image_is_the_source_tree(built_images: BuiltImages, name: str) -> None:
    ours = {}
    for path in (ROOT / "src" / "sightline").rglob("*"):
        if path.is_file() and path.suffix not in (".pyc", ".md"):
            ours[str(path.relative_to(ROOT / "src" / "sightline"))] = path
    ours["compiled/train.yaml"] = ROOT / "pipelines" / "compiled" / "train.yaml"
    ours |= {f"images/{each}.lock": ROOT / "images" / each / "requirements.lock" for each in built_images.built}
    expected = {key: hashlib.sha256(path.read_bytes()).hexdigest() for key, path in ours.items()}
    assert built_images.python(name, DIGESTS) == expected


def test_no_image_outgrows_what_its_packages_should_weigh(built_images: BuiltImages, name: str) -> None:
    image = built_images.built[name]
    done = built_images.engine.call("history", "--human=false", "--format", "{{.Size}} {{.CreatedBy}}", image.reference)
    ours = [int(line.split()[0]) for line in done.stdout.splitlines() if "COPY" in line]
    assert len(ours) == 2
    assert sum(ours) / 1e6 <= MEGABYTES[name + image.variant]
