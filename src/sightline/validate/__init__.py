"""Validate: labelled images in; a content-addressed snapshot and a data report out, or every reason why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sightline.config import RunConfig, Tier
from sightline.documents import DataDocument, ValidateDocument
from sightline.errors import ConfigError


def resolve(
    preset: str,
    values: Mapping[str, Any],
    source: str | None = None,
    wrong: Sequence[str] = (),
    tier: Tier | None = None,
) -> RunConfig:
    """Return the configuration of a run from a preset and changed values.

    A `tier` of cards chooses sizes that are left open. If it is wrong, or there are mistakes in what it was read from
    (`wrong`), the error also lists problems with weights, data, store and tracking server, so that a user sees all of
    them at once. Raises ConfigError.
    """
    from sightline.validate import preflight

    return preflight.resolve(preset, values, source=source, wrong=wrong, tier=tier)


def run(
    *, source: str, config: RunConfig, out: Path, store: str | None = None, tier: Tier | None = None
) -> ValidateDocument:
    """Check a source, store it as a snapshot, pin the starting weights, and write `validate.json` into `out`.

    `source` is a folder, an archive or s3://…; `store` is where the snapshot goes, by default SIGHTLINE_STORE. The
    configuration was resolved for a `tier` of cards, if one is known; where boxes are small at an image size that
    nobody has given, the document's configuration has a larger one. The data report (data.json, data.html,
    problems.csv) is written whatever the verdict. The tracking server is checked meanwhile. Raises DataError for a
    source that cannot be read as a detection set, DataRejected for one that the policy rejects, WeightsError for
    unusable weights, ConfigError for an unusable tracking server and for several of these problems, and StorageError
    from the store. Then no file is left that a later stage would read.
    """
    from sightline import snapshots
    from sightline.runtime.provenance import code_digest
    from sightline.runtime.stage_frame import moment, running
    from sightline.validate import preflight, sizes, validated_source

    with running("validate", out) as seconds:
        validated_source.remove(out)
        started_at = moment()
        sizes.announce(config, tier)
        with preflight.asking(config) as tracking:
            target, pinned, stride = preflight.prepare(config, tracking, source=source, store=store)
            with validated_source.opened(source, config) as result:
                report = result.report(out, seconds())
                if report.verdict == "rejected":
                    raise validated_source.rejection(report, out, target)
                config, sized = sizes.chosen(config, tier, report.shorter_side, stride)
                unfit = config.train.single_image_left(report.splits["train"].images)
                preflight.refuse([ConfigError(problem) for problem in unfit], tracking.problems())
                published = snapshots.publish(result.dataset, target, source)
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
            train_code=preflight.train_code(config),
            infer_code=code_digest("infer"),
            sizing=sized,
            started_at=started_at,
            seconds=seconds(),
        )
        document.write(out)
    return document


def check(source: str, config: RunConfig, out: Path) -> DataDocument:
    """Put a source through the data gate alone, and write the data report into `out`.

    Raises DataError for a source that cannot be read as a detection set, DataRejected for one that the policy rejects.
    """
    import time

    from sightline.validate import refusal, validated_source

    start = time.monotonic()
    validated_source.remove(out)
    with validated_source.opened(source, config) as result:
        report = result.report(out, round(time.monotonic() - start, 3))
    if report.verdict == "rejected":
        raise refusal.rejection(report, str(out / validated_source.PAGE))
    return report
