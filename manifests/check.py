"""Render the manifests and check what comes out: `make manifests`. A tool that is missing is an error."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
BUILD = HERE.parent / "build" / "manifests"
OLDEST = "1.30"

# Kinds for which Kubernetes itself has no schema, and the versions that lack it: the first and the last.
WITHOUT_SCHEMA = {
    "monitoring.coreos.com/v1 PrometheusRule": (OLDEST, None),
    "admissionregistration.k8s.io/v1 MutatingAdmissionPolicy": (OLDEST, "1.35"),
    "admissionregistration.k8s.io/v1 MutatingAdmissionPolicyBinding": (OLDEST, "1.35"),
    "admissionregistration.k8s.io/v1beta1 MutatingAdmissionPolicy": (OLDEST, "1.33"),
    "admissionregistration.k8s.io/v1beta1 MutatingAdmissionPolicyBinding": (OLDEST, "1.33"),
}
# What the patches change belongs to KFP and Argo: deployment and container stand in for theirs.
OF_OTHERS = {
    "kfp-retry": ("ml-pipeline", "ml-pipeline-api-server"),
    "argo-requeue": ("workflow-controller",) * 2,
    "trigger-seaweedfs": ("seaweedfs",) * 2,
}
IMAGES = ["quay.io/minio/mc", "ghcr.io/sightline-ml/sightline-data"]  # overlays name versions; these are in none
BUILDS_ON = {"gpu-v1beta1": ["gpu"]}


class Wrong(Exception):
    """A message for the person who runs this."""


def find(program: str) -> str:
    """Path of a program that lies beside this Python or in PATH."""
    beside = Path(sys.executable).with_name(program)
    found = str(beside) if beside.is_file() else shutil.which(program)
    if found is None:
        where = "Debian's package prometheus has it" if program == "promtool" else "`make manifests` installs it"
        raise Wrong(f"the program {program} is missing: {where}")
    return found


def command(program: str, *arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program, and give its end with what it said."""
    return subprocess.run([find(program), *map(str, arguments)], cwd=folder, capture_output=True, text=True)


def kustomize(folder: Path) -> str:
    """Render the kustomization in this folder, as YAML."""
    done = command("kubectl", "kustomize", folder)
    if done.returncode:
        raise Wrong(f"{folder}: {done.stderr.strip()}")
    return done.stdout


def with_component(name: str, work: Path) -> str:
    """Render base with this component alone, or, for a patch of what others run, with a stand-in for that."""
    folder = work / name
    folder.mkdir(parents=True, exist_ok=True)
    up = "/".join([".."] * len(folder.relative_to(HERE.parent).parts))
    resources = [f"{up}/manifests/base"]
    if name in OF_OTHERS:
        (folder / "theirs.yaml").write_text(yaml.safe_dump(_deployment(*OF_OTHERS[name])))
        resources = ["theirs.yaml"]
    components = [f"{up}/manifests/components/{each}" for each in (*BUILDS_ON.get(name, []), name)]
    images = [{"name": image, "newTag": "some"} for image in IMAGES]
    text = {"namespace": "kubeflow", "resources": resources, "components": components, "images": images}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(text))
    return kustomize(folder)


def _deployment(name: str, container: str) -> dict[str, Any]:
    labels = {"app": name}
    pod = {"containers": [{"name": container, "image": "theirs", "env": [{"name": "THEIRS", "value": "kept"}]}]}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def render() -> dict[str, Path]:
    """Write every overlay, and base with each component, into the build folder; give the files by name."""
    shutil.rmtree(BUILD, ignore_errors=True)
    texts = {path.parent.name: kustomize(path.parent) for path in sorted(HERE.glob("overlays/*/kustomization.yaml"))}
    for path in sorted(HERE.glob("components/*/kustomization.yaml")):
        texts[f"component-{path.parent.name}"] = with_component(path.parent.name, BUILD / "work")
    files = {}
    for name, text in texts.items():
        files[name] = BUILD / f"{name}.yaml"
        files[name].write_text(text)
    return files


def objects(file: Path) -> list[dict[str, Any]]:
    """Read the Kubernetes objects of a rendered file."""
    return [each for each in yaml.safe_load_all(file.read_text()) if each]


def versions() -> list[str]:
    """Kubernetes versions to check against: from the oldest that counts to the newest with schemas."""
    from kubernetes_validate.utils import all_versions, major_minor

    known = [major_minor(each) for each in all_versions()]
    return known[known.index(OLDEST) :]


def against_schemas(files: dict[str, Path]) -> list[str]:
    """Check every object against the strict schema of each version; give what is wrong, each fault once."""
    import kubernetes_validate

    faults: dict[str, list[str]] = defaultdict(list)
    without: dict[str, set[str]] = defaultdict(set)
    # Most objects are the same in all files, and each look at a schema takes a while.
    different = {json.dumps(each, sort_keys=True): (name, each) for name in files for each in objects(files[name])}
    for name, each in different.values():
        for version in versions():
            try:
                kubernetes_validate.validate(each, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                where = ".".join(map(str, error.path))
                thing = f"{each['kind']}/{each['metadata']['name']}"
                faults[f"{name}: {thing}: {where}: {error.message}"].append(version)
            except kubernetes_validate.SchemaNotFoundError:
                without[f"{each['apiVersion']} {each['kind']}"].add(version)
    return [f"{fault} (Kubernetes {', '.join(at)})" for fault, at in faults.items()] + _unknown_kinds(without)


def _unknown_kinds(without: dict[str, set[str]]) -> list[str]:
    """Compare the kinds without a schema with the list: a typo in a kind must not pass as one."""
    expected = {}
    for kind, (first, last) in WITHOUT_SCHEMA.items():
        known = versions()
        end = known.index(last) + 1 if last else None
        expected[kind] = set(known[known.index(first) : end])
    return [
        f"{kind}: no schema in Kubernetes {sorted(without.get(kind, ()))}, expected in {sorted(expected.get(kind, ()))}"
        for kind in sorted(without.keys() | expected.keys())
        if without.get(kind, set()) != expected.get(kind, set())
    ]


def by_linter(files: dict[str, Path]) -> list[str]:
    """Check what teams install with checkov: the overlays, and the components with servers that are in none of them."""
    others = ("component-bucket-minio", "component-trigger")
    chosen = [file for name, file in files.items() if not name.startswith("component-") or name in others]
    names = [part for file in chosen for part in ("-f", file)]
    done = command("checkov", *names, "--config-file", HERE / "checkov.yaml", "--output", "json")
    report = json.loads(done.stdout)
    seen = report.get("summary", report)["resource_count"]
    if seen < len(chosen):
        return [f"checkov looked at {seen} objects only: {done.stderr.strip()}"]
    return [
        f"checkov: {each['resource']}: {each['check_name']} ({each['check_id']}), {each['file_path']}"
        for each in report["results"]["failed_checks"]
    ]


def rules() -> list[str]:
    """Check Prometheus' rules, and run their tests."""
    home = HERE / "components" / "prometheus"
    work = BUILD / "rules"
    work.mkdir()
    spec = yaml.safe_load((home / "rules.yaml").read_text())["spec"]
    (work / "rules.yaml").write_text(yaml.safe_dump(spec))
    shutil.copy(home / "rules_test.yaml", work)
    calls = (("check", "rules", "--lint-fatal", "rules.yaml"), ("test", "rules", "rules_test.yaml"))
    done = [command("promtool", *call, folder=work) for call in calls]
    return [f"promtool:\n{each.stdout}{each.stderr}" for each in done if each.returncode]


def main() -> int:
    """Check everything, say all that is wrong at once."""
    try:
        for program in ("kubectl", "checkov", "promtool"):
            find(program)
        files = render()
        wrong = [*against_schemas(files), *rules(), *by_linter(files)]
    except Wrong as error:
        print(error, file=sys.stderr)
        return 2
    if wrong:
        print(*wrong, sep="\n", file=sys.stderr)
        return 1
    for name, file in files.items():
        print(f"{name:28}{len(objects(file)):3} objects   {file.relative_to(HERE.parent)}")
    print(f"valid for Kubernetes {versions()[0]} to {versions()[-1]}; checkov and promtool find nothing")
    return 0


if __name__ == "__main__":
    sys.exit(main())
