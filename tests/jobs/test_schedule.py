"""Times of the schedule: in the mall's zone, over changes of the clock, caught up with once."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.registry import JOBS
from jobs.schedule import SCHEDULE, latest_slot

BERLIN, SHANGHAI = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Shanghai")
ZONES = [BERLIN, SHANGHAI, ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe"), UTC]


def slots(times: str, start: datetime, end: datetime, zone: ZoneInfo) -> list[datetime]:
    """What a scheduler that looks every minute asks for."""
    found: list[datetime] = []
    last = now = start
    while now < end:
        now += timedelta(minutes=1)
        slot = latest_slot(times, last, now, zone)
        if slot is not None:
            found.append(slot.astimezone(UTC))
            last = slot
    return found


def test_every_scheduled_job_exists() -> None:
    """A name that no worker knows would never be done."""
    assert {entry.job for entry in SCHEDULE} <= set(JOBS)


@pytest.mark.parametrize(
    ("day", "expected"),
    [("2027-03-28", "01:00"), ("2027-10-31", "00:30"), ("2027-06-01", "00:30")],
)
def test_a_daily_job_comes_once_a_day_over_changes_of_the_clock(day: str, expected: str) -> None:
    """02:30 in Berlin: skipped in March, there twice in October; the job comes once, in UTC at."""
    start = datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=BERLIN).astimezone(UTC)
    (slot,) = slots("30 2 * * *", start, start + timedelta(hours=20), BERLIN)
    assert f"{slot:%Y-%m-%d %H:%M}" == f"{day} {expected}"


def test_what_runs_every_ten_minutes_runs_on_in_the_hour_that_comes_twice() -> None:
    """25 hours, 150 times; and 23 hours, 138 times."""
    for day, count in (("2027-10-31", 150), ("2027-03-28", 138)):
        start = datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=BERLIN)
        end = (start + timedelta(days=1)).astimezone(UTC)
        found = slots("*/10 * * * *", start.astimezone(UTC), end, BERLIN)
        assert len(found) == len(set(found)) == count


def test_after_a_downtime_a_job_is_caught_up_with_once() -> None:
    """Five days without a scheduler: the last time only; even after years the search is short."""
    start = datetime(2027, 1, 1, tzinfo=UTC)
    now = start + timedelta(days=5, hours=3)
    slot = latest_slot("0 9 * * *", start, now, SHANGHAI)
    assert slot == datetime(2027, 1, 6, 1, tzinfo=UTC)
    assert latest_slot("0 9 * * *", slot, now, SHANGHAI) is None
    years_later = latest_slot("*/5 * * * *", start, datetime(2031, 1, 1, tzinfo=UTC), SHANGHAI)
    assert years_later == datetime(2031, 1, 1, tzinfo=UTC)


@given(
    after=st.integers(1_767_225_600, 1_861_920_000).map(
        lambda at_s: datetime.fromtimestamp(at_s, UTC)
    ),
    waited=st.timedeltas(timedelta(0), timedelta(days=3)),
    times=st.sampled_from(["*/5 * * * *", "30 2 * * *", "0 9 * * *", "15 * * * *", "0 0 * * 1"]),
    zone=st.sampled_from(ZONES),
)
def test_a_slot_is_new_and_not_in_the_future(
    after: datetime, waited: timedelta, times: str, zone: ZoneInfo
) -> None:
    """And asking again right then finds nothing."""
    slot = latest_slot(times, after, after + waited, zone)
    if slot is not None:
        assert after < slot <= after + waited
        assert latest_slot(times, slot, after + waited, zone) is None
