"""Cron times: five fields, meant in a time zone, and the six that KFP needs, in the zone of its server.

KFP reads five fields as second to month, so `0 2 * * *` would start at minute 2 of every hour: a sixth, the second, is
put in front. It knows no zones, so the hours are moved; where that moves the day, the days are moved as well. What six
fields cannot say then is refused.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from sightline.errors import ConfigError, shown

LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # days of each month
DAYS = frozenset((month, day) for month in range(1, 13) for day in range(1, LONGEST[month - 1] + 1))
ALL = {"minutes": range(60), "hours": range(24), "days": range(1, 32), "months": range(1, 13), "weekdays": range(7)}
AHEAD = timedelta(days=370)  # in which every change of a year shows


@dataclass(frozen=True)
class Cron:
    """Five fields as sets of numbers; Sunday is 0. An unrestricted field is the whole range."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]

    def whole(self, field: str) -> bool:
        """Tell whether a field allows everything."""
        return len(getattr(self, field)) == len(ALL[field])

    def six(self) -> str:
        """Write it as KFP reads it: second, minute, hour, day of month, month, day of week."""
        return " ".join(["0", *(self._field(field) for field in ALL)])

    def _field(self, field: str) -> str:
        return "*" if self.whole(field) else ",".join(map(str, sorted(getattr(self, field))))


@dataclass(frozen=True)
class Change:
    """A day from which the starts are an hour, or another step, off until the schedule is declared again."""

    at: datetime  # in the zone of the schedule
    before: datetime  # the first start after it, as meant
    after: datetime  # the same start as the server would make it


def starts(fields: str, zone: ZoneInfo, now: datetime, count: int) -> list[datetime]:
    """Return the next starts of five fields, in their zone. A time that daylight saving skips is moved, as cron does.

    Raises ConfigError for fields that are wrong, or that no day fits.
    """
    if len(fields.split()) != 5:
        raise ConfigError(f"cron: got {shown(fields)}, expected five fields: minute hour day month weekday.")
    try:
        found = list(islice(CronSim(fields, now.astimezone(zone)), count))
    except CronSimError as problem:
        if _reads(*fields.split()[:3], "*", fields.split()[4]):
            raise _never(fields) from None
        raise ConfigError(
            f"cron: got {shown(fields)}, expected minute hour day month weekday, such as '0 2 * * 1-5' "
            f"({str(problem).lower()})."
        ) from None
    if not found:
        raise _never(fields)
    return [start.astimezone(zone) for start in found]


def _reads(*fields: str) -> bool:
    """Tell whether fields can be read: cronsim takes a day that no month has for a mistake in writing."""
    try:
        CronSim(" ".join(fields), datetime(2000, 1, 1))
    except CronSimError:
        return False
    return True


def _never(fields: str) -> ConfigError:
    return ConfigError(f"cron: {shown(fields)} never comes: no such month has such a day.")


def for_server(fields: str, zone: ZoneInfo, server: ZoneInfo, now: datetime) -> str:
    """Return the six fields in the server's zone that start when `fields` in `zone` start next.

    Raises ConfigError for fields that are wrong, that no day fits, or that six fields there cannot say.
    """
    first = starts(fields, zone, now, 1)[0]
    cron = _parse(fields, zone, now)
    return _moved(cron, _difference(first, zone, server), fields).six()


def next_change(fields: str, zone: ZoneInfo, server: ZoneInfo, now: datetime) -> Change | None:
    """Return when daylight saving moves the starts, within a year; None if nothing moves."""
    first = starts(fields, zone, now, 1)[0]
    difference = _difference(first, zone, server)
    day = first
    while (day := day + timedelta(days=1)) < first + AHEAD:
        if _difference(day, zone, server) == difference:
            continue
        low, high = day - timedelta(days=1), day  # the change lies between them
        while high - low > timedelta(minutes=1):
            middle = low + (high - low) / 2
            low, high = (middle, high) if _difference(middle, zone, server) == difference else (low, middle)
        at = high.astimezone(zone).replace(second=0, microsecond=0)
        meant = starts(fields, zone, at, 1)[0]
        moved = meant - (_difference(meant, zone, server) - difference)
        return Change(at, meant, moved) if _moves(fields, zone, now, difference, difference + (meant - moved)) else None
    return None


def _moves(fields: str, zone: ZoneInfo, now: datetime, before: timedelta, after: timedelta) -> bool:
    """Tell whether six fields say something else after a change: what starts every hour does so after it too."""
    cron = _parse(fields, zone, now)
    try:
        return _moved(cron, before, fields) != _moved(cron, after, fields)
    except ConfigError:
        return True


def _difference(moment: datetime, zone: ZoneInfo, server: ZoneInfo) -> timedelta:
    """Return how far the server's clock is ahead of the schedule's at a moment."""
    here, there = moment.astimezone(zone).utcoffset(), moment.astimezone(server).utcoffset()
    assert here is not None
    assert there is not None
    return there - here


def _parse(fields: str, zone: ZoneInfo, now: datetime) -> Cron:
    """Return the fields as sets of numbers. Raises ConfigError for what KFP's scheduler does not know."""
    parsed = CronSim(fields, now.astimezone(zone))
    numbers = [*parsed.days, *parsed.weekdays]
    if any(not isinstance(number, int) or number < 0 for number in numbers):
        raise ConfigError(f"cron: got {shown(fields)}: KFP knows no L, LW and #; name the days.")
    cron = Cron(
        frozenset(parsed.minutes),
        frozenset(parsed.hours),
        frozenset(parsed.days),
        frozenset(parsed.months),
        frozenset(number % 7 for number in numbers[len(parsed.days) :] if isinstance(number, int)),
    )
    _, _, day, _, weekday = fields.split()
    if not cron.whole("days") and not cron.whole("weekdays") and "*" in (day[0], weekday[0]):
        # A leading star makes cron ask for both days, numbers make it ask for either; only numbers can be moved.
        raise ConfigError(f"cron: got {shown(fields)}: with a day of the month and one of the week, */ is ambiguous.")
    return cron


def _moved(cron: Cron, difference: timedelta, fields: str) -> Cron:
    """Return the same starts by another clock. Raises ConfigError if six fields cannot say them."""
    steps = [divmod(hour * 60 + minute + difference // timedelta(minutes=1), 1440) for hour, minute in _times(cron)]
    hours = frozenset(minute // 60 for _, minute in steps)
    minutes = frozenset(minute % 60 for _, minute in steps)
    days = {day for day, _ in steps}
    if len(hours) * len(minutes) != len(steps):
        raise _unsayable(fields, "the minutes are not the same in every hour there")
    restricted = not all(cron.whole(field) for field in ("days", "months", "weekdays"))
    if len(days) > 1 and restricted:
        raise _unsayable(fields, "its starts lie on two days there")
    step = days.pop() if restricted else 0
    if not step:
        return Cron(minutes, hours, cron.days, cron.months, cron.weekdays)
    months, of_month = _moved_days(cron, step, fields)
    return Cron(minutes, hours, of_month, months, frozenset((day + step) % 7 for day in cron.weekdays))


def _times(cron: Cron) -> Iterable[tuple[int, int]]:
    return ((hour, minute) for hour in cron.hours for minute in cron.minutes)


def _moved_days(cron: Cron, step: int, fields: str) -> tuple[frozenset[int], frozenset[int]]:
    """Return months and days of the month, one day earlier or later."""
    if cron.whole("days") and cron.whole("months"):
        return cron.months, cron.days
    if not cron.whole("weekdays") and not cron.whole("months"):
        raise _unsayable(fields, "it starts on another day there, and the weekdays of a month begin in another one")
    wanted = {(month, day) for month, day in DAYS if month in cron.months and day in cron.days}
    moved = set()
    for month, day in wanted:
        # Where the day before or after depends on the year, no number says it.
        years = [year for year in (2023, 2024) if day <= calendar.monthrange(year, month)[1]]
        dates = {datetime(year, month, day) + timedelta(days=step) for year in years}
        found = {(date.month, date.day) for date in dates}
        if len(found) != 1 or (month, day) == (2, 29):
            raise _unsayable(fields, "it starts on another day there, at the end of February")
        moved |= found
    months = frozenset(month for month, _ in moved)
    days = frozenset(day for _, day in moved)
    if not cron.whole("weekdays") and len(months) < 12:  # a month without the day still has the weekdays
        raise _unsayable(fields, "it starts on another day there, which February does not have")
    if {(month, day) for month, day in DAYS if month in months and day in days} != moved:
        raise _unsayable(fields, "it starts on another day there, in some months the last one")
    return months, days


def _unsayable(fields: str, why: str) -> ConfigError:
    return ConfigError(
        f"cron: {shown(fields)} cannot be sent: KFP's server counts in another zone, and {why}. Choose another hour, "
        "or a schedule for each of its starts."
    )
