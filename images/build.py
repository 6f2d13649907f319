"""Builds the container images, tries every stage in them, names them, and pushes them.

python -m images.build            build, smoke-run, and only then name all three; an image whose tag is there is kept
python -m images.build --push     push the images of the last build; a tag that the registry has is left alone
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from components.images import BASE_IMAGE, REGISTRY, reference
from images import engine as engines
from images import index_settings, smoke, supply_chain
from images.push import push
from sightline import __version__
from sightline.atomic import write_text
from sightline.errors import ConfigError, SightlineError
from sightline.orchestrate import images
from sightline.runtime.provenance import git_commit

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / "build"
SOURCE = "https://github.com/sightline-ml/sightline"
OCI = "org.opencontainers.image"
VARIANTS = ("", "cpu")
WORD = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
REPOSITORY = re.compile(rf"(?:{WORD}|\[[0-9a-f:]+\])(?::\d+)?(?:/{WORD})*")  # as engines take it


def build(engine: engines.Engine, *, base_image: str, registry: str, variant: str) -> images.Built:
    """Build the images that are not there yet, run every stage in them, and then name them all.

    Raises SightlineError if a step fails; no new image has a name then.
    """
    base = engine.base(base_image)
    variants = {name: variant if name == "infer" else "" for name in images.NAMES}
    tags = {name: images.tag(name, base=base, variant=variants[name], root=ROOT) for name in images.NAMES}
    names = {name: reference(name, tags[name], registry) for name in images.NAMES}
    there = {name: found.id for name in images.NAMES if (found := engine.image(names[name]))}
    ids = dict(there)
    commit = git_commit() or ""
    with tempfile.TemporaryDirectory() as folder:
        secrets = index_settings.write_secrets(Path(folder))
        for name in [name for name in images.NAMES if name not in there]:
            ids[name] = _build(engine, name, variants[name], tags[name], base_image, commit, secrets)
    if len(there) < len(ids):
        _smoke(engine, ids)
    for name in [name for name in images.NAMES if name not in there]:
        engine.tag(ids[name], names[name])
    inspected = {name: engine.image(names[name]) for name in images.NAMES}
    return images.Built(
        images={
            name: images.BuiltImage(
                reference=names[name], base=base, variant=variants[name], id=f"sha256:{image.id}", size=image.size
            )
            for name, image in inspected.items()
            if image
        }
    )


def main(arguments: list[str]) -> int:
    """Build or push; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m images.build", description=__doc__.partition("\n")[0])
    parser.add_argument("--push", action="store_true", help="push the images of the last build")
    parser.add_argument("--release", action="store_true", help=f"push them as {__version__} too")
    parser.add_argument("--container", default="", help="docker, podman or buildah; default: the first that can build")
    parser.add_argument("--registry", default=REGISTRY, help=f"where the images belong; default: {REGISTRY}")
    parser.add_argument("--base-image", default=BASE_IMAGE, help=f"has Python 3.11; default: {BASE_IMAGE}")
    parser.add_argument("--variant", default="", help="cpu: the infer image without CUDA")
    options = parser.parse_args(arguments)
    try:
        if options.push:
            _push(options.container, release=options.release)
        else:
            _check(options.registry, options.variant)
            _build_all(options)
    except SightlineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _check(registry: str, variant: str) -> None:
    """Refuse settings that no build can use. Raises ConfigError."""
    if not REPOSITORY.fullmatch(registry.rstrip("/")):
        raise ConfigError(
            f"REGISTRY: got '{registry}', expected host[:port]/path in lower case without a scheme, such as "
            f"{REGISTRY} or localhost:5000."
        )
    if variant not in VARIANTS:
        raise ConfigError(f"VARIANT: got '{variant}', expected cpu (the infer image without CUDA) or nothing.")
    lists = {f"images/{name}/{images.list_name(variant if name == 'infer' else '')}" for name in images.NAMES}
    if gone := sorted(path for path in {*images.SHARED, *images.LISTS, *lists} if not (ROOT / path).is_file()):
        raise ConfigError(f"{', '.join(gone)} missing in {ROOT}. Restore it; `make lock` writes the lists.")


def _build_all(options: argparse.Namespace) -> None:
    engine = engines.choose(options.container)
    registry = options.registry.rstrip("/")
    built = build(engine, base_image=options.base_image, registry=registry, variant=options.variant)
    _write(with_digests(built, ROOT / images.BUILT))
    base = engine.image(options.base_image)
    for image in built.images.values():
        alone = f", {(image.size - base.size) / 1e6:,.0f} MB without the base" if base else ""
        print(f"{image.reference}  {image.id}  {image.size / 1e6:,.0f} MB{alone}")


def _push(container: str, *, release: bool) -> None:
    images.built_references(ROOT)  # refuses a build that the sources have left behind
    last = images.Built.model_validate_json((ROOT / images.BUILT).read_bytes())
    built = push(engines.choose(container), last, release=release, write=_write)
    for image in built.images.values():
        print(f"{image.reference}  {image.digest}")


def with_digests(built: images.Built, record: Path) -> images.Built:
    """Return a build with the digests that the last build's record has of the same references: tags never move."""
    try:
        last = images.Built.model_validate_json(record.read_bytes()).images.values()
    except (FileNotFoundError, ValidationError):
        return built
    digests = {image.reference: image.digest for image in last}
    return images.Built(
        images={
            name: image.model_copy(update={"digest": digests.get(image.reference)})
            for name, image in built.images.items()
        }
    )


def _build(
    engine: engines.Engine, name: str, variant: str, tag: str, base_image: str, commit: str, secrets: Mapping[str, Path]
) -> str:
    """Build one image without a name, and return its id."""
    LOGS.mkdir(exist_ok=True)
    log = LOGS / f"sightline-{name}.log"
    print(f"building sightline-{name}:{tag} ({log.relative_to(ROOT)}) ...", flush=True)
    start = time.monotonic()
    wanted = images.list_name(variant)
    labels = {"source": SOURCE, "revision": commit, "version": __version__}
    labels["licenses"] = supply_chain.image_licence(ROOT / "images" / name / wanted)
    built = engine.build(
        ROOT / "images" / name / "Dockerfile",
        ROOT,
        arguments={"BASE_IMAGE": base_image, "LIST": wanted, "TAG": tag, "COMMIT": commit},
        labels={f"{OCI}.{key}": value for key, value in labels.items()},
        secrets=secrets,
        log=log,
    )
    print(f"  {time.monotonic() - start:.0f} s", flush=True)
    return built


def _smoke(engine: engines.Engine, ids: Mapping[str, str]) -> None:
    if not engine.runs:
        print(f"no smoke run: {engine.kind} builds and does not run images", flush=True)
        return
    print("running every stage in its image ...", flush=True)
    smoke.run(engine, ids)


def _write(built: images.Built) -> None:
    write_text(ROOT / images.BUILT, built.model_dump_json(indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
