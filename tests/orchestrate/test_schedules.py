"""Recurring runs: the server matches the file after each call, whatever happened before it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sightline.errors import ClusterError, ConfigError
from sightline.orchestrate import schedule_file, schedules, versions
from sightline.orchestrate.kfp_api import Server
from tests.helpers import compiled
from tests.helpers.kfp_stand_in import StandIn

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
NIGHTLY = """
- name: nightly
  cron: "0 2 * * *"
  time_zone: Europe/Berlin
  enabled: true
  parameters: {data: "s3://b/cells", train_epochs: 3}
"""
WEEKLY = NIGHTLY.replace("nightly", "weekly").replace("* * *", "* * 1")


def declare(folder: Path, entries: str, *, deadline: int | None = 3600) -> list[str]:
    """Make the server match a file of these entries; returns what was done, such as 'create nightly'."""
    file = folder / "schedules.yaml"
    file.write_text(f"schedules: {entries or '[]'}")
    sent = versions.package(compiled.write(folder, deadline=deadline))
    names = {"experiment": "sightline", "service_account": None}
    wanted = schedules.declared(file, sent, NOW, **names)  # type: ignore[arg-type]
    server = Server()
    version = versions.upload(server, sent).version
    steps = schedules.plan(server, sent, wanted, version.pipeline_version_id)
    done = schedules.apply(server, steps, version, **names)  # type: ignore[arg-type]
    return [f"{step.action} {step.name}" for step in done]


def there(state: StandIn) -> dict[str, Any]:
    """Return the recurring runs by name; no two have one name."""
    found = {item.display_name: item for item in state.recurring.values()}
    assert len(found) == len(state.recurring)
    return found


def test_a_schedule_is_sent_with_six_fields_in_utc_without_catch_up_and_one_at_a_time(
    kfp_server: StandIn, tmp_path: Path
) -> None:
    assert declare(tmp_path, NIGHTLY) == ["create nightly"]
    nightly = there(kfp_server)["nightly"]
    assert nightly.trigger.cron_schedule.cron == "0 0 1 * * *"
    assert (nightly.max_concurrency, nightly.no_catchup, nightly.status) == ("1", True, "ENABLED")
    assert nightly.runtime_config.parameters == {"data": "s3://b/cells", "train_epochs": "3"}
    assert "Starts at 0 2 * * * (Europe/Berlin)" in nightly.description


def test_calling_again_changes_nothing(kfp_server: StandIn, tmp_path: Path) -> None:
    declare(tmp_path, NIGHTLY + WEEKLY)
    before = list(kfp_server.recurring)
    assert declare(tmp_path, NIGHTLY + WEEKLY) == ["keep nightly", "keep weekly"]
    assert list(kfp_server.recurring) == before


def test_it_is_paused_resumed_and_removed_as_the_file_says(kfp_server: StandIn, tmp_path: Path) -> None:
    declare(tmp_path, NIGHTLY)
    paused = NIGHTLY.replace("enabled: true", "enabled: false")
    assert declare(tmp_path, paused) == ["pause nightly"]
    assert there(kfp_server)["nightly"].status == "DISABLED"
    assert declare(tmp_path, NIGHTLY) == ["resume nightly"]
    assert there(kfp_server)["nightly"].status == "ENABLED"
    assert declare(tmp_path, "") == ["remove nightly"]
    assert there(kfp_server) == {}
    assert declare(tmp_path, paused) == ["create nightly"]
    assert there(kfp_server)["nightly"].status == "DISABLED"


@pytest.mark.parametrize(
    "change",
    [("0 2", "0 3"), ("train_epochs: 3", "train_epochs: 4"), ("name: nightly", "name: nightly\n  description: x")],
)
def test_a_change_replaces_it_and_a_run_that_goes_on_is_left_alone(
    kfp_server: StandIn, tmp_path: Path, change: tuple[str, str]
) -> None:
    declare(tmp_path, NIGHTLY)
    (old,) = kfp_server.recurring
    assert declare(tmp_path, NIGHTLY.replace(*change)) == ["replace nightly"]
    assert old not in kfp_server.recurring
    assert there(kfp_server)["nightly"].status == "ENABLED"
    assert kfp_server.deletions == [{"propagation_policy": "ORPHAN"}]


def test_a_new_version_is_named_by_submit_and_taken_by_schedule(kfp_server: StandIn, tmp_path: Path) -> None:
    declare(tmp_path, NIGHTLY)
    new = versions.upload(Server(), versions.package(compiled.write(tmp_path, deadline=60))).version
    assert schedules.outdated(Server(), "sightline-small", new.pipeline_version_id) == ["nightly"]
    assert declare(tmp_path, NIGHTLY, deadline=60) == ["replace nightly"]
    assert schedules.outdated(Server(), "sightline-small", new.pipeline_version_id) == []
    assert there(kfp_server)["nightly"].pipeline_version_reference.pipeline_version_id == new.pipeline_version_id


def test_what_people_made_is_left_alone(kfp_server: StandIn, tmp_path: Path) -> None:
    declare(tmp_path, NIGHTLY)
    (mine,) = kfp_server.recurring.values()
    theirs = kfp_server.read("V2beta1RecurringRun", kfp_server.write(mine))
    theirs.recurring_run_id, theirs.description, theirs.display_name = "theirs", "by hand", "nightly"
    other = kfp_server.read("V2beta1RecurringRun", kfp_server.write(mine))
    other.recurring_run_id, other.description = "other", mine.description.replace("sightline-small/", "elsewhere/")
    kfp_server.recurring |= {"theirs": theirs, "other": other}
    assert declare(tmp_path, "") == ["remove nightly"]
    assert set(kfp_server.recurring) == {"theirs", "other"}


@pytest.mark.parametrize("dies_at", ["POST …", "DELETE …", "ENABLE …"])
def test_a_call_repairs_what_an_earlier_one_left_between_its_steps(
    kfp_server: StandIn, tmp_path: Path, dies_at: str
) -> None:
    declare(tmp_path, NIGHTLY)
    (old,) = kfp_server.recurring
    calls = "/apis/v2beta1/recurringruns"
    original = kfp_server.create_recurring

    def create(**options: Any) -> Any:
        made = original(**options)
        kfp_server.faults[f"POST {calls}/{made.recurring_run_id}:enable"] = [(500, "gone")]
        return made

    if dies_at == "ENABLE …":
        kfp_server.create_recurring = create  # type: ignore[method-assign]
    elif dies_at == "POST …":
        kfp_server.faults[f"POST {calls}"] = [(500, "gone")]
    else:
        kfp_server.faults[f"DELETE {calls}/{old}"] = [(500, "gone")]
    changed = NIGHTLY.replace("0 2", "0 4")
    with pytest.raises(ClusterError, match="gone"):
        declare(tmp_path, changed)
    assert sum(item.status == "ENABLED" for item in kfp_server.recurring.values()) <= 1
    declare(tmp_path, changed)
    nightly = there(kfp_server)["nightly"]
    assert (nightly.trigger.cron_schedule.cron, nightly.status) == ("0 0 3 * * *", "ENABLED")


def test_every_mistake_of_the_file_is_named_at_once_and_nothing_is_sent(kfp_server: StandIn, tmp_path: Path) -> None:
    entries = NIGHTLY.replace("train_epochs: 3", "epochs: 3") + WEEKLY.replace("0 2 * * 1", "0 0 30 2 *")
    entries += NIGHTLY.replace("nightly", "lost").replace("Europe/Berlin", "Europe/Berlim")
    with pytest.raises(ConfigError) as caught:
        declare(tmp_path, entries)
    text = str(caught.value)
    assert "nightly: unknown parameter 'epochs'; did you mean 'train_epochs'?" in text
    assert "weekly: cron: '0 0 30 2 *' never comes" in text
    assert "lost: time_zone: got 'Europe/Berlim', expected a name of the tz database" in text
    assert "did you mean 'Europe/Berlin'?" in text
    assert kfp_server.requests == []


def test_a_schedule_wants_a_deadline_for_its_runs(kfp_server: StandIn, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"has no deadline for a whole run: .*`make compile DEADLINE=12h`.* with --pipeline"
    ):
        declare(tmp_path, NIGHTLY, deadline=None)
    assert declare(tmp_path, "", deadline=None) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("schedules: [{name: a}]", r"schedules\[0\].cron: missing"),
        ("schedule: []", "schedule: unknown; did you mean 'schedules'?"),
        (f"schedules: {NIGHTLY.replace('cron:', 'crom:')}", r"schedules\[0\].crom: unknown; did you mean 'cron'"),
        (f"schedules: {NIGHTLY.replace('true', '1')}", r"schedules\[0\].enabled: got 1, expected a valid boolean"),
        (f"schedules: {NIGHTLY.replace('nightly', 'Every Night')}", "got 'Every Night', expected up to 50 lower-case"),
        (f"schedules: {NIGHTLY}{NIGHTLY}", "the name 'nightly' is given twice"),
        ("schedules: [", "line 1"),
        ("[]", "the file: got \\[\\], expected"),
    ],
)
def test_a_slip_of_the_pen_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "schedules.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        schedule_file.read(path)
    with pytest.raises(ConfigError, match="cannot be read: no such file"):
        schedule_file.read(tmp_path / "gone.yaml")


def test_the_example_is_one_that_starts_nothing() -> None:
    example = Path(__file__).parents[2] / "pipelines" / "schedules.yaml"
    found = schedule_file.read(example)
    assert [schedule.enabled for schedule in found] == [False]
    assert found[0].zone.key == "Europe/Berlin"


def test_the_servers_zone_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert schedule_file.server_zone().key == "UTC"
    monkeypatch.setenv(schedule_file.SERVER_ZONE, "Asia/Tokyo")
    assert schedule_file.server_zone().key == "Asia/Tokyo"
    monkeypatch.setenv(schedule_file.SERVER_ZONE, "Nowhere")
    with pytest.raises(ConfigError, match="CRON_SCHEDULE_TIMEZONE: got 'Nowhere'"):
        schedule_file.server_zone()
