"""Pushes the images of a build, and gives a release's tag to what their registry has."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from components.images import reference
from images import engine as engines
from images import messages, tags
from sightline import __version__
from sightline.orchestrate import images


def push(
    engine: engines.Engine, built: images.Built, *, release: bool, write: Callable[[images.Built], None]
) -> images.Built:
    """Push the images of a build that their registry does not have, and return them with their digests.

    With `release` the digest that the registry has under the content's tag gets the tag of the version too, also where
    another machine built it. `write` keeps what is done so far. Raises EngineError if the registry refuses, if an image
    is gone, or if the version's tag is another image: all of that is asked before anything is pushed.
    """
    names = {name: image.reference for name, image in built.images.items()}
    there = {name: tags.digest(names[name], engine.kind) for name in names}
    releases = {name: _release(names[name]) for name in names} if release else {}
    released = _released(engine, releases, there)
    if gone := [names[name] for name in names if there[name] is None and engine.image(names[name]) is None]:
        messages.gone(*gone)
    for name, image in built.images.items():
        digest = there[name]
        if digest:
            print(f"{names[name]} is there already and stays as it is", flush=True)
        else:
            print(f"pushing {names[name]} ...", flush=True)
            digest = engine.push(names[name])
        built = images.Built(images=built.images | {name: image.model_copy(update={"digest": digest})})
        write(built)
    for name in [name for name in releases if name not in released]:
        print(f"naming {releases[name]} ...", flush=True)
        tags.put(releases[name], str(built.images[name].digest), engine.kind)
    return built


def _release(content: str) -> str:
    """Return the reference of the version beside that of the content."""
    registry, _, last = content.rpartition("/")
    return reference(last.partition(":")[0].removeprefix("sightline-"), __version__, registry)


def _released(engine: engines.Engine, releases: Mapping[str, str], there: Mapping[str, str | None]) -> set[str]:
    """Return the images that have the version's tag already. Raises EngineError if one has it for other content."""
    found = {name: digest for name in releases if (digest := tags.digest(releases[name], engine.kind))}
    if other := [name for name, digest in found.items() if digest != there[name]]:
        raise engines.EngineError(
            "Tags never move: raise the version. Nothing was pushed. "
            + " ".join(
                f"{releases[name]} is {found[name]} in its registry, and this build's content "
                f"{f'is {there[name]}' if there[name] else 'is not there'}."
                for name in other
            )
        )
    return set(found)
