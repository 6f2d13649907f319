"""Validate: labelled images in; a content-addressed snapshot and a data report out, or every reason why not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sightline import presets
from sightline.artifacts import DataDocument, ValidateDocument, Weights
from sightline.config import RunConfig, WeightsConfig
from sightline.errors import ConfigError, SightlineError
from sightline.storage import Store


def resolve(preset: str, values: Mapping[str, Any]) -> RunConfig:
    """Like `presets.resolve`, but a configuration that fails is also told what is wrong with its weights.

    So nobody mends a number only to learn of a missing file. Raises ConfigError.
    """
    from sightline.validate import weights

    try:
        return presets.resolve(preset, values)
    except ConfigError as error:
        base = presets.PRESETS.get(preset, presets.balanced)()
        raise ConfigError(error.message, [*error.problems, *weights.mistakes(base.weights, values)]) from None


def pin_and_find(config: WeightsConfig, store: Store, source: str) -> Weights:
    """Pin the weights, and see that there is a source: what is wrong with either is said at once.

    Raises WeightsError or DataError, or ConfigError for both.
    """
    from sightline.validate import weights
    from sightline.validate.source import look

    errors: list[SightlineError] = []
    try:
        look(source)
    except SightlineError as error:
        errors.append(error)
    try:
        pinned = weights.pin(config, store)
    except SightlineError as error:
        errors.append(error)
    if len(errors) > 1:
        raise ConfigError("Neither the data nor the weights can be used:", [str(error) for error in errors])
    if errors:
        raise errors[0]
    return pinned


def run(*, source: str, config: RunConfig, out: Path, store: str | None = None) -> ValidateDocument:
    """Check a source, store it as a snapshot, pin the starting weights, and leave `validate.json` in `out`.

    `source` is a folder, an archive or s3://…; `store` is where the snapshot goes, by default SIGHTLINE_STORE.
    The data report (data.json, data.html, problems.csv) is written whatever the verdict.
    Raises DataError for a source that cannot be read as a detection set, DataRejected for one that the policy refuses,
    WeightsError for weights that cannot be used, and StorageError from the store. Then nothing is left behind that a
    later stage would read.
    """
    from sightline.provenance import code_digest
    from sightline.stages import running
    from sightline.storage import default_store, open_store
    from sightline.validate import checked, snapshot

    with running("validate", out) as seconds:
        (out / ValidateDocument.file_name()).unlink(missing_ok=True)
        checked.remove(out)
        target = open_store(store or default_store())
        pinned = pin_and_find(config.weights, target, source)
        with checked.opened(source, config) as result:
            report = result.report(out, seconds())
            if report.verdict == "rejected":
                raise checked.refusal(report, out, target)
            published = snapshot.publish(result.dataset, target, source)
        document = ValidateDocument(
            source=source,
            format=report.format,
            snapshot=published.uri,
            digest=published.digest,
            classes=report.classes,
            splits=report.splits,
            split_rule=report.split_rule,
            uploaded_bytes=published.uploaded_bytes,
            findings=report.findings,
            dropped_images=report.dropped_images,
            dropped_boxes=report.dropped_boxes,
            weights=pinned,
            config=config,
            code=code_digest(),
            seconds=seconds(),
        )
        document.write(out)
    return document


def check(source: str, config: RunConfig, out: Path) -> DataDocument:
    """Put a source through the data gate alone, and leave the data report in `out`.

    Raises DataError for a source that cannot be read as a detection set, DataRejected for one that the policy refuses.
    """
    import time

    from sightline.validate import checked, gate

    start = time.monotonic()
    checked.remove(out)
    with checked.opened(source, config) as result:
        report = result.report(out, round(time.monotonic() - start, 3))
    if report.verdict == "rejected":
        raise gate.refusal(report, str(out / checked.PAGE))
    return report
