"""What CI and a release do: the workflows hold to their rules, and the steps of a release run as they stand there."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from sightline.orchestrate import images
from tests.helpers.compiled import nodes
from tests.helpers.kfp_stand_in import StandIn

ROOT = Path(__file__).parents[2]
FILES = {path.stem: path for path in (ROOT / ".github" / "workflows").glob("*.yml")}
FOLDERS = ("src", "pipelines", "components", "images")
SINGLE = ("Makefile", "pyproject.toml", "requirements.lock", "bootstrap.lock", "LICENSE", ".dockerignore")
WRITES = {("release", "images", "packages"), ("release", "package", "contents")}  # who may write what
DIGEST = "sha256:" + "0123456789abcdef" * 4
IMAGES = tuple(f"127.0.0.1:1/acme/sightline-{name}@{DIGEST}" for name in ("data", "train", "infer"))


def workflow(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILES[name].read_text(encoding="utf-8"))
    return loaded


def jobs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield every job with the name of its workflow and its own."""
    for name in FILES:
        for job, body in workflow(name)["jobs"].items():
            yield name, job, body


def steps() -> Iterator[dict[str, Any]]:
    for _, _, job in jobs():
        yield from job["steps"]


def of_release(job: str, named: str) -> dict[str, Any]:
    """Return a step of a job of the release, by its name or the beginning of what it runs."""
    found = workflow("release")["jobs"][job]["steps"]
    step: dict[str, Any] = next(
        step for step in found if named == step.get("name") or step.get("run", "").startswith(named)
    )
    return step


def run(
    step: dict[str, Any], folder: Path, given: Mapping[str, str], programs: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a step as GitHub does. What it takes from variables and secrets is `given`, and empty where it is not."""
    asked = {**workflow("release")["env"], **step.get("env", {})}
    variables = os.environ | dict.fromkeys(asked, "") | dict(given)
    variables |= {"GITHUB_OUTPUT": str(folder / "output"), "GITHUB_STEP_SUMMARY": str(folder / "summary")}
    if programs:
        variables["PATH"] = f"{programs}{os.pathsep}{variables['PATH']}"
    command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]]
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def written(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def records(folder: Path, name: str, *, also: str = "") -> Path:
    """Write a program that notes what it is called with; returns its folder."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#!/bin/sh\necho "$@" >> "{folder}/{name}.calls"\n{also}\n')
    path.chmod(0o755)
    return path.parent


def test_actions_are_pinned_by_commit_and_say_their_version() -> None:
    pins = set()
    for path in FILES.values():
        uses = re.findall(r"uses: (.+)", path.read_text(encoding="utf-8"))
        assert uses or "uses:" not in path.read_text(encoding="utf-8")
        assert [use for use in uses if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)] == []
        pins |= set(uses)
    assert len({pin.partition("@")[0] for pin in pins}) == len(pins), "one action in two versions"


def test_workflows_call_make_with_targets_and_variables_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    read = set(re.findall(r"\$\((?:if )?([A-Z_]+)", makefile)) | set(
        re.findall(r"^OPTIONS = (.+)", makefile, re.M)[0].split()
    )
    calls = [
        shlex.split(call) for step in steps() for call in re.findall(r"^make (.+)", step.get("run", ""), re.MULTILINE)
    ]
    words = {word for call in calls for word in call if "=" not in word}
    assert (
        {"check", "test", "manifests", "images", "test-images", "push", "compile", "submit", "faults"}
        == words
        <= targets
    )
    given = {word.partition("=")[0] for call in calls for word in call if "=" in word}
    assert given | set(workflow("release")["env"]) <= read


def test_a_job_may_write_only_what_it_publishes_and_has_an_end() -> None:
    for name in FILES:
        assert workflow(name)["permissions"] == {"contents": "read"}
    found = {
        (name, job, scope)
        for name, job, body in jobs()
        for scope, access in body.get("permissions", {}).items()
        if access != "read"
    }
    assert found == WRITES
    assert all("timeout-minutes" in body for _, _, body in jobs())
    kept = [step for step in steps() if "checkout@" in step.get("uses", "")]
    assert all(step["with"]["persist-credentials"] is False for step in kept)


def test_secrets_and_variables_reach_a_program_by_its_environment_alone() -> None:
    assert [step for step in steps() if "${{" in step.get("run", "")] == []
    for path in FILES.values():
        for line in path.read_text(encoding="utf-8").splitlines():
            if "secrets." in line:
                assert re.match(r" {10}[A-Z_]+: \$\{\{ .* \}\}$", line), (
                    f"{path.name}: no environment of a step: {line}"
                )
    assert "pull_request_target" not in "".join(path.read_text() for path in FILES.values())


def test_contributing_explains_every_variable_and_secret_that_a_release_reads() -> None:
    text = FILES["release"].read_text(encoding="utf-8")
    read = {name for kind, name in re.findall(r"\b(vars|secrets)\.(\w+)", text) if name != "GITHUB_TOKEN"}
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Releases")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (variable|secret) \|", page, re.MULTILINE)
    explained = {(name, kind) for names, kind in rows for name in re.findall(r"`(\w+)`", names)}
    assert {name for name, _ in explained} == read
    assert {name for name, kind in explained if kind == "secret"} == set(re.findall(r"secrets\.(\w+)", text)) - {
        "GITHUB_TOKEN"
    }


@pytest.mark.parametrize(
    ("given", "outputs", "missing"),
    [
        ({}, "", ["registry", "cluster"]),
        ({"REGISTRY": "ghcr.io/acme"}, "registry=yes\n", ["cluster"]),
        ({"REGISTRY": "ghcr.io/acme", "KFP_ENDPOINT": "https://kfp.acme"}, "registry=yes\ncluster=yes\n", []),
    ],
)
def test_a_release_says_what_is_not_configured_and_stays_green(
    tmp_path: Path, given: dict[str, str], outputs: str, missing: list[str]
) -> None:
    done = run(of_release("settings", "Say what is configured"), tmp_path, given)
    assert done.returncode == 0, done.stderr
    assert written(tmp_path / "output") == outputs
    assert (
        re.findall(r"^::notice title=No (\w+) is configured::The (?:variable|secret) \w+ is", done.stdout, re.M)
        == missing
    )
    assert re.findall(r"^No (\w+) is configured", written(tmp_path / "summary"), re.MULTILINE) == missing
    assert "https://kfp.acme" not in done.stdout + done.stderr


def test_logging_in_names_the_registry_and_never_the_password(tmp_path: Path) -> None:
    step, programs = of_release("images", "Log in"), records(tmp_path, "docker", also="cat > /dev/null")
    given = {"REGISTRY": "registry.acme:5000/vision/cells", "LOGIN": "robot"}
    done = run(step, tmp_path, {**given, "PASSWORD": "s3cret"}, programs)
    assert done.returncode == 0, done.stderr
    assert written(tmp_path / "docker.calls") == "login registry.acme:5000 --username robot --password-stdin\n"
    assert "s3cret" not in done.stdout + done.stderr
    done = run(step, tmp_path, given, programs)
    assert done.returncode == 0
    assert "pushing without a login" in done.stdout
    assert written(tmp_path / "docker.calls").count("\n") == 1
    whose = step["env"]["PASSWORD"]
    assert "startsWith(vars.REGISTRY, 'ghcr.io/') && secrets.GITHUB_TOKEN" in whose


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The source tree without the installed packages, and a make that uses those at hand."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "built.json"))
    for name in SINGLE:
        shutil.copy(ROOT / name, folder / name)
    return folder


def test_the_digests_of_a_push_reach_the_jobs_after_it(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(images.VARIABLE, raising=False)
    pushed = {
        name: {
            "reference": f"127.0.0.1:1/acme/sightline-{name}:{images.tag(name, base='b', root=checkout)}",
            "digest": DIGEST,
            **{"base": "b", "variant": "", "id": "i", "size": 1},
        }
        for name in images.NAMES
    }
    record = images.Built.model_validate({"images": pushed})
    (checkout / images.BUILT).write_text(record.model_dump_json(), encoding="utf-8")
    (checkout / ".venv" / "bin").mkdir(parents=True)
    python = checkout / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    done = run(of_release("images", "Hand on the digests"), checkout, {"PYTHONPATH": str(checkout / "src")})
    assert written(checkout / "output") == f"references={','.join(IMAGES)}\n", done.stderr


def test_a_release_compiles_with_digests_attaches_that_and_submits_the_same(
    checkout: Path, tmp_path: Path, kfp_server: StandIn
) -> None:
    kfp_server.token = "t0ken"
    (tmp_path / "installed").touch()
    programs = records(tmp_path, "gh", also='[ "$2" != view ]')
    common = {
        "MAKEFLAGS": f" -- BIN={Path(sys.executable).parent} STAMP={tmp_path / 'installed'}",
        "PYTHONPATH": f"{checkout / 'src'}{os.pathsep}{checkout}",
        "IMAGES": ",".join(IMAGES),
        "DEADLINE": "12h",
        "OWNER": "cytology",
    }
    done = run(of_release("package", "make compile"), checkout, common | {"IMAGES": ""})
    assert "error: No images have been built" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (checkout / "build" / "train.yaml").exists()

    done = run(of_release("package", "make compile"), checkout, common)
    assert done.returncode == 0, done.stdout + done.stderr
    packaged = written(checkout / "build" / "train.yaml")
    assert set(re.findall(r"^\s+image: (\S+)$", packaged, re.MULTILINE)) == set(IMAGES)
    assert "activeDeadlineSeconds: 43200" in packaged
    assert "cytology" in packaged
    assert written(checkout / "pipelines" / "compiled" / "train.yaml") == written(
        ROOT / "pipelines/compiled/train.yaml"
    )

    step = of_release("package", "Attach the pipeline, for the dashboard")
    done = run(step, checkout, {"GITHUB_REF_NAME": "v9.8.7", "GH_TOKEN": "t0ken"}, programs)
    assert done.returncode == 0, done.stderr
    assert written(tmp_path / "gh.calls").splitlines() == [
        "release view v9.8.7",
        "release create v9.8.7 --verify-tag --generate-notes",
        "release upload v9.8.7 build/sightline-9.8.7.yaml --clobber",
    ]
    assert written(checkout / "build" / "sightline-9.8.7.yaml") == packaged

    submit, cluster = of_release("submit", "make submit"), {"KFP_ENDPOINT": kfp_server.address, "KFP_TOKEN": "t0ken"}
    shown = run(submit, checkout, {**common, **cluster, "ARGS": "--dry-run"})
    assert shown.returncode == 0, shown.stderr
    assert kfp_server.requests == []
    kfp_server.script = [("SUCCEEDED", nodes(validate="Succeeded"))]
    (usual,) = re.findall(r"vars.SUBMIT_ARGS \|\| '(.+)'", submit["env"]["ARGS"])
    done = run(submit, checkout, {**common, **cluster, "ARGS": f"{usual} --param train_epochs=3"})
    assert done.returncode == 0, done.stderr
    assert "is over: succeeded" in done.stdout
    assert "t0ken" not in shown.stdout + shown.stderr + done.stdout + done.stderr
    (version,) = kfp_server.versions.values()
    assert f"version    {version.display_name}, unless" in shown.stdout
    assert hashlib.sha256(packaged.encode()).hexdigest().startswith(version.display_name.rpartition("-")[2])
    (only,) = kfp_server.runs.values()
    assert only.runtime_config.parameters == {"train_epochs": "3"}
    assert all(image in only.description for image in IMAGES)
