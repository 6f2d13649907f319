"""The file of triggers, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.errors import ConfigError
from sightline.orchestrate import versions
from sightline.trigger import trigger_file
from sightline.trigger.trigger_file import Trigger
from tests.helpers import compiled

ROOT = Path(__file__).parents[2]
CELLS = "triggers: [{name: cells, prefix: 's3://data/cells', enabled: true}]"


def read(folder: Path, text: str, *, store: str = "s3://runs/store", deadline: int | None = 60) -> list[Trigger]:
    path = folder / "triggers.yaml"
    path.write_text(text)
    return trigger_file.read(path, versions.package(compiled.write(folder, deadline=deadline)), store)


def problems(folder: Path, text: str, store: str = "s3://runs/store") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(folder, text, store=store)
    return [problem.replace(str(folder), "…") for problem in caught.value.problems or (caught.value.message,)]


def test_a_trigger_runs_on_its_prefix_and_trains_what_changed_unless_it_says_otherwise(tmp_path: Path) -> None:
    (cells,) = read(tmp_path, CELLS)
    assert cells.run == {"data": "s3://data/cells", "retrain": "changed"}
    assert (cells.quiet, cells.every) == (300, 600)
    more = "quiet: 90s, every: 2h, parameters: {data: 's3://data/cells/a.zip', retrain: drifted, train_epochs: 3}}]"
    (cells,) = read(tmp_path, CELLS.replace("}]", f", {more}"))
    assert cells.run == {"data": "s3://data/cells/a.zip", "retrain": "drifted", "train_epochs": 3}
    assert (cells.quiet, cells.every) == (90, 7200)


def test_a_prefix_holds_what_lies_below_it_and_no_neighbour(tmp_path: Path) -> None:
    (cells,) = read(tmp_path, CELLS)
    places = ("s3://data/cells", "s3://data/cells/a.jpg", "s3://data/cells2/a.jpg", "s3://data", "s3://cells/a")
    assert [cells.holds(place) for place in places] == [True, True, False, False, False]
    (bucket,) = read(tmp_path, CELLS.replace("/cells", "/"))
    assert (bucket.prefix, bucket.holds("s3://data/x"), bucket.holds("s3://data2/x")) == ("s3://data", True, False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("name: cells", "name: Cells"), "triggers[0].name: got 'Cells', expected up to 50 lower-case letters"),
        (("enabled: true", ""), "triggers[0].enabled: missing"),
        (("enabled", "enable: 1, enabled"), "triggers[0].enable: unknown; did you mean 'enabled'?"),
        (("s3://data/cells", "data/cells"), "triggers[0].prefix: got 'data/cells', expected s3://bucket/prefix"),
        (("data/cells", "data//cells"), "triggers[0].prefix: got 's3://data//cells', expected s3://bucket/prefix"),
        (("data/cells", "192.168.0.1/x"), "got 's3://192.168.0.1/x', expected s3://bucket/prefix"),
        (("data/cells", "a..b/x"), "got 's3://a..b/x', expected s3://bucket/prefix"),
        (("cells'", "cells.zip'"), "expected the prefix in which the archive lies; parameters.data names the archive"),
        (("}", ", quiet: 5}"), "triggers[0].quiet: got 5, expected a time such as 90s, 5m or 2h"),
        (("}", ", every: 0s}"), "triggers[0].every: got '0s', expected a time such as 90s, 5m or 2h"),
        (("}", ", parameters: {trian_epochs: 3}}"), "cells: unknown parameter 'trian_epochs'"),
        (("}", ", parameters: {train_epochs: many}}"), "cells: train_epochs: got 'many', expected a whole number"),
        (
            ("}", ", parameters: {data: 's3://b/c'}}"),
            "cells: data: got s3://b/c, expected what lies in s3://data/cells",
        ),
        (("s3://data/cells", "s3://runs"), "cells: the store of the runs, s3://runs/store, lies in s3://runs"),
        (("enabled: true", "enabled: false"), "…/triggers.yaml has no trigger that is enabled."),
        (("}]", "}, {name: cells, prefix: 's3://more/c', enabled: true}]"), "the name 'cells' is given twice"),
        ((CELLS, "triggers: {"), "…/triggers.yaml: line"),
        ((CELLS, "[]"), "the file: got [], expected a valid"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    (problem,) = problems(tmp_path, CELLS.replace(*change, 1))
    assert words in problem


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    one, two = "{name: a, prefix: 's3://data', quiet: 1, enabled: true}", "{prefix: b, enabled: maybe}"
    assert len(problems(tmp_path, f"triggers: [{one}, {two}]")) == 4


def test_a_pipeline_without_a_deadline_could_hang_for_ever(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no deadline for a whole run.*DEADLINE=12h"):
        read(tmp_path, CELLS, deadline=None)


def test_the_committed_file_is_right_once_its_example_is_enabled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.compile import compiled as compile_pipeline
    from pipelines.options import HOUR, Options

    monkeypatch.setenv("SIGHTLINE_IMAGES", ",".join(f"r/sightline-{name}:1" for name in ("data", "train", "infer")))
    pipeline = tmp_path / "train.yaml"
    pipeline.write_text(compile_pipeline(Options(deadline=HOUR)))
    text = (ROOT / "pipelines" / "triggers.yaml").read_text()
    path = tmp_path / "triggers.yaml"
    path.write_text(text.replace("enabled: false", "enabled: true"))
    (cells,) = trigger_file.read(path, versions.package(pipeline), "s3://sightline/store")
    assert cells.run["retrain"] == "changed"
