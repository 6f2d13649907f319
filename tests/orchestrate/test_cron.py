"""Cron times: five fields in a zone become the six that KFP's server reads, and start at the same moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import ConfigError
from sightline.orchestrate import cron

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
SERVER = ZoneInfo("UTC")


def six(fields: str, zone: str, server: str = "UTC") -> str:
    return cron.for_server(fields, ZoneInfo(zone), ZoneInfo(server), NOW)


@pytest.mark.parametrize(
    ("fields", "zone", "sent"),
    [
        ("0 2 * * *", "UTC", "0 0 2 * * *"),  # five would start at minute 2 of every hour
        ("0 2 * * *", "Europe/Berlin", "0 0 1 * * *"),
        ("30 0 * * 1-5", "Europe/Berlin", "0 30 23 * * 0,1,2,3,4"),
        ("0 23 * * 7", "America/New_York", "0 0 4 * * 1"),
        ("0 0 * * sun", "UTC", "0 0 0 * * 0"),  # KFP knows no day 7
        ("0 1 1 6 *", "Asia/Tokyo", "0 0 16 31 5 *"),
        ("0 9,21 2 * *", "Europe/Berlin", "0 0 8,20 2 * *"),
        ("*/15 * * * *", "Asia/Kolkata", "0 0,15,30,45 * * * *"),
        ("15 6 * * *", "Asia/Kolkata", "0 45 0 * * *"),
        ("0 5 1 * 1", "UTC", "0 0 5 1 * 1"),
        ("0 20 31 * *", "America/Anchorage", "0 0 5 1 1,2,4,6,8,9,11 *"),
    ],
)
def test_five_fields_become_six_in_utc(fields: str, zone: str, sent: str) -> None:
    assert six(fields, zone) == sent


def test_a_server_in_the_same_zone_gets_the_hours_as_they_are() -> None:
    assert six("0 2 * * *", "Europe/Berlin", "Europe/Berlin") == "0 0 2 * * *"
    assert cron.next_change("0 2 * * *", ZoneInfo("Europe/Berlin"), ZoneInfo("Europe/Berlin"), NOW) is None


@pytest.mark.parametrize(
    ("fields", "zone", "words"),
    [
        ("0 0 30 2 *", "UTC", "never comes"),
        ("0 0 31 4,6 *", "Europe/Berlin", "never comes"),
        ("61 * * * *", "UTC", "bad minute"),
        ("0 2 * *", "UTC", "expected five fields"),
        ("0 0 2 * * *", "UTC", "expected five fields"),
        ("TZ=UTC 0 2 * * *", "UTC", "expected five fields"),
        ("@daily", "UTC", "expected five fields"),
        ("0 2 L * *", "UTC", "KFP knows no L"),
        ("0 5 */2 * 1", "UTC", "ambiguous"),
        ("0 0,12 * * 1", "Europe/Berlin", "two days"),
        ("0,45 2 * * *", "Asia/Kolkata", "minutes are not the same"),
        ("0 22 28 * *", "America/New_York", "February"),
        ("0 1 1 * *", "Asia/Tokyo", "February"),
        ("0 1 1 2,5 *", "Asia/Tokyo", "last one"),
        ("0 1 * 6 1", "Asia/Tokyo", "weekdays of a month"),
        ("0 0 30 * 0", "Asia/Tokyo", "which February does not have"),
    ],
)
def test_what_cannot_be_read_or_sent_is_refused(fields: str, zone: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        six(fields, zone)


@given(
    minutes=st.sets(st.integers(0, 59), min_size=1, max_size=3),
    hours=st.sets(st.integers(0, 23), min_size=1, max_size=3),
    days=st.sets(st.integers(1, 31), max_size=3),
    months=st.sets(st.integers(1, 12), max_size=3),
    weekdays=st.sets(st.integers(0, 6), max_size=3),
    zone=st.sampled_from(["Asia/Tokyo", "Asia/Kolkata", "America/Phoenix", "Pacific/Kiritimati", "Pacific/Pago_Pago"]),
)
@settings(max_examples=150, deadline=None)
def test_what_is_sent_starts_at_the_same_moments(
    minutes: set[int], hours: set[int], days: set[int], months: set[int], weekdays: set[int], zone: str
) -> None:
    parts = [",".join(map(str, sorted(values))) or "*" for values in (minutes, hours, days, months, weekdays)]
    fields = " ".join(parts)
    try:
        sent = six(fields, zone)
    except ConfigError:
        return
    meant = [start.astimezone(UTC) for start in cron.starts(fields, ZoneInfo(zone), NOW, 40)]
    assert list(islice(CronSim(sent, NOW), 40)) == meant


def test_daylight_saving_is_told_and_a_later_call_corrects_it() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    change = cron.next_change("0 2 * * *", berlin, SERVER, NOW)
    assert change is not None
    assert f"{change.at:%Y-%m-%d} {change.before:%H:%M} {change.after:%H:%M}" == "2027-03-28 02:00 03:00"
    later = change.at + timedelta(hours=1)
    assert cron.for_server("0 2 * * *", berlin, SERVER, later) == "0 0 0 * * *"
    back = cron.next_change("0 2 * * *", berlin, SERVER, later)
    assert back is not None
    assert f"{back.at:%Y-%m-%d} {back.before:%H:%M} {back.after:%H:%M}" == "2027-10-31 02:00 01:00"


def test_what_starts_every_hour_is_not_moved() -> None:
    assert cron.next_change("*/10 * * * *", ZoneInfo("Europe/Berlin"), SERVER, NOW) is None


def test_the_next_starts_are_in_the_schedules_own_zone() -> None:
    starts = cron.starts("0 2 * * 1-5", ZoneInfo("Europe/Berlin"), NOW, 3)
    assert [f"{start:%a %H:%M %Z}" for start in starts] == ["Mon 02:00 CET", "Tue 02:00 CET", "Wed 02:00 CET"]
