"""The rendered manifests, and their servers as processes of this machine, with the same arguments and environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.postgres import NOBODY, programs
from tests.helpers.s3_server import GRPC, free_ports
from tests.helpers.servers import free_port, wait_until

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv-manifests" / "bin"  # `make manifests` makes it

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # weed and mlflow lie beside this Python

Objects = list[dict[str, Any]]


def tool(name: str) -> str:
    """Path of a program that works with manifests; the test skips where it is not installed."""
    found = shutil.which(name, path=f"{TOOLS}:{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not installed: make manifests")
    return found


def rendered(folder: Path) -> Objects:
    """The Kubernetes objects of a folder with a kustomization."""
    done = subprocess.run([tool("kubectl"), "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def named(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    """The one object of this kind and name."""
    (found,) = [each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def container(objects: Objects, kind: str, name: str) -> dict[str, Any]:
    """The one container of the pods that this object makes."""
    (found,) = named(objects, kind, name)["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def environment(objects: Objects, container: dict[str, Any], secrets: dict[str, dict[str, str]]) -> dict[str, str]:
    """The variables that Kubernetes would give a container, with these Secrets in the namespace."""
    values = {}
    for each in container["env"]:
        if "value" in each:
            values[each["name"]] = each["value"]
        elif "secretKeyRef" in each["valueFrom"]:
            source = each["valueFrom"]["secretKeyRef"]
            values[each["name"]] = secrets[source["name"]][source["key"]]
        else:
            source = each["valueFrom"]["configMapKeyRef"]
            values[each["name"]] = named(objects, "ConfigMap", source["name"])["data"][source["key"]]
    return values


def s3_driver(folder: Path) -> None:
    """Put MLflow's driver for S3 into a folder for PYTHONPATH: it is installed beside the tools."""
    folder.mkdir()
    for package in ("boto3", "botocore", "s3transfer", "jmespath"):
        found = list(TOOLS.parent.glob(f"lib/python3*/site-packages/{package}"))
        if not found:
            pytest.skip(f"{package}, MLflow's driver for S3, is not installed: make manifests")
        (folder / package).symlink_to(found[0].resolve())


def status(address: str, host: str) -> int:
    """What a server answers to a GET with this Host header; 0 if it does not answer."""
    request = urllib.request.Request(address, headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


class Process:
    """A server in a folder of its own, with its log."""

    def __init__(self, command: list[str], folder: Path, variables: dict[str, str], **user: Any) -> None:
        """Start it, with nothing in its environment but these variables and the search path."""
        self.log = folder / "server.log"
        variables = {"PATH": PATH, **variables}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log, **user)

    def stop(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()


class KfpStore(Process):
    """SeaweedFS as KFP runs it, with KFP's own user and bucket in it."""

    def __init__(self, folder: Path) -> None:
        """Start it, and make KFP's administrator, without whom anybody may do anything."""
        parts = ("master", "filer", "volume", "s3")
        ports = dict(zip(parts, free_ports(), strict=False))
        self.address, self.master = f"http://127.0.0.1:{ports['s3']}", f"127.0.0.1:{ports['master']}"
        self.sockets = [Path(f"/tmp/seaweedfs-{part}-{port + GRPC}.sock") for part, port in ports.items()]
        (folder / "data").mkdir()
        command = [
            *("weed", "-logtostderr", "server", f"-dir={folder}/data", "-s3", "-filer"),
            *("-master.volumePreallocate=false", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"),
            *(f"-{part}.port={port}" for part, port in ports.items()),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=100", f"-s3.localSocket={folder}/s3.sock"),
            f"-filer.localSocket={folder}/filer.sock",
        ]
        super().__init__(command, folder, {"HOME": str(folder)})
        wait_until(lambda: status(f"{self.address}/status", "any") == 200, self.process, seconds=90, log=self.log)
        wait_until(lambda: "mlpipeline" in self._ask("s3.bucket.list"), self.process, seconds=90, log=self.log)

    def _ask(self, words: str) -> str:
        user = "s3.configure -user kfp -access_key kfp -secret_key kfp-secret -actions Admin -apply"
        lines = "\n".join(("s3.bucket.create -name mlpipeline", user, words, ""))
        variables = {"PATH": PATH, "HOME": str(self.log.parent)}
        command = ["weed", "shell", f"-master={self.master}"]
        return subprocess.run(command, input=lines, capture_output=True, text=True, env=variables).stdout

    def stop(self) -> None:
        """End it, and remove the sockets that it leaves outside its folder."""
        super().stop()
        for each in self.sockets:
            each.unlink(missing_ok=True)


class Database:
    """PostgreSQL as the image starts it: a database made from the variables, then a server with the arguments."""

    def __init__(self, folder: Path, container: dict[str, Any], variables: dict[str, str]) -> None:
        """Make the database; `start` starts the server."""
        home = programs()
        if home is None:
            pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
        self.home, self.folder, self.arguments, self.port = home, folder, container["args"], free_port()
        self.user: dict[str, Any] = NOBODY if os.geteuid() == 0 else {}
        if self.user:
            shutil.chown(folder, "nobody", "nogroup")
        owner, database = variables["POSTGRES_USER"], variables["POSTGRES_DB"]
        (folder / "password").write_text(variables["POSTGRES_PASSWORD"])
        made = [f"--username={owner}", f"--pwfile={folder}/password", *variables["POSTGRES_INITDB_ARGS"].split()]
        self._run("initdb", "-D", f"{folder}/data", "-N", *made)
        with open(folder / "data" / "pg_hba.conf", "a") as access:
            access.write("host all all all scram-sha-256\n")
        self.start()
        self._run("createdb", f"--host={folder}", f"--port={self.port}", f"--username={owner}", database)

    def _run(self, program: str, *arguments: str) -> int:
        done = subprocess.run(
            [self.home / program, *arguments], cwd=self.folder, capture_output=True, text=True, **self.user
        )
        assert program == "pg_isready" or done.returncode == 0, done.stderr
        return done.returncode

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        command = [str(self.home / "postgres"), "-D", f"{self.folder}/data", "-h", "127.0.0.1", "-p", str(self.port)]
        self.server = Process([*command, "-k", str(self.folder), *self.arguments], self.folder, {}, **self.user)
        asking = ("-q", "-h", "127.0.0.1", "-p", str(self.port))
        wait_until(lambda: self._run("pg_isready", *asking) == 0, self.server.process, seconds=60, log=self.server.log)

    def stop(self) -> None:
        """End the server with all its connections."""
        self.server.process.send_signal(3)  # SIGQUIT: kill would leave its children
        self.server.process.wait()
