"""What a person, or a program, is told of what was sent to a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sightline.cluster.findings import Finding
    from sightline.orchestrate.registry import Image
    from sightline.orchestrate.submit import Order, Submitted
    from sightline.orchestrate.versions import Package


def sent(sent: Package, run: Order | None, images: list[Image]) -> dict[str, Any]:
    """Return what is sent, for --json."""
    return {
        "pipeline": sent.name,
        "version": sent.version,
        "tags": dict(sent.tags),
        "description": sent.description,
        "images": [{"reference": image.reference, "checked": image.checked, "why": image.why} for image in images],
        "run": run
        and {
            "name": run.name,
            "description": run.description,
            "experiment": run.experiment,
            "service_account": run.service_account,
            "training": run.training,
            "parameters": dict(run.parameters),
        },
    }


def done(done: Submitted) -> dict[str, Any]:
    """Return what came of it, for --json."""
    return {
        "uploaded": done.uploaded.new,
        "pipeline_id": done.uploaded.pipeline_id,
        "version_id": done.uploaded.version.pipeline_version_id,
        "run_id": done.run_id,
        "address": done.address,
        "outdated_schedules": list(done.outdated),
    }


def _image_lines(images: list[Image]) -> list[str]:
    return [
        f"image      {image.reference}{'' if image.checked else f' (not checked: {image.why})'}" for image in images
    ]


def cluster_lines(notes: Sequence[Finding]) -> list[str]:
    """Write what may stand in the way, and in one line what could not be asked."""
    lines = [f"cluster    {note.check}: {note.words}" for note in notes if note.level == "warning"]
    hidden = dict.fromkeys(note.words.removeprefix("not checked: ") for note in notes if note.level == "unknown")
    if hidden:
        first, *more = hidden
        lines.append(f"cluster    not checked: {first}{f', and {len(more)} more reasons' if more else ''}")
    return lines


def dry_lines(sent: Package, run: Order | None, images: list[Image]) -> list[str]:
    """Write what would be sent."""
    lines = [
        f"pipeline   {sent.name}",
        f"version    {sent.version}, unless the server has it",
        *_image_lines(images),
        *(f"tag        {name}: {value}" for name, value in sent.tags.items()),
        *(f"words      {line}" for line in sent.description.splitlines()),
    ]
    if run is None:
        return [*lines, "run        none"]
    return [
        *lines,
        f"run        {run.name}, in the experiment {run.experiment}",
        *(f"words      {line}" for line in run.description.splitlines()),
        *(f"parameter  {name} = {value}" for name, value in run.parameters.items()),
        f"training   {run.training}",
        *([f"as         {run.service_account}"] if run.service_account else []),
    ]


def done_lines(sent: Package, run: Order | None, images: list[Image], done: Submitted) -> list[str]:
    """Write what was sent, and where it is seen and followed."""
    state = "uploaded" if done.uploaded.new else "was there already: nothing was uploaded"
    lines = [f"version    {sent.name} {sent.version} {state}", *_image_lines(images)]
    if run and done.run_id:
        lines += [f"run        {run.name}", f"training   {run.training}", f"see        {done.address}"]
        lines += [f"follow     sightline submit --follow {done.run_id}"]
    if done.outdated:
        lines.append(f"schedules  {', '.join(done.outdated)} still run another version; `make schedule` moves them")
    if done.unknown:
        lines.append(f"schedules  not checked: {done.unknown}")
    return lines
