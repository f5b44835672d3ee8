"""Whether and when a push is sent: properties of the pure decision, in any zone, over any clock."""

from collections import Counter
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import hypothesis.strategies as st
import pytest
from hypothesis import assume, example, given

from models.notifications import PushReason, PushStatus, PushType
from services.notifications.decide import (
    MOST_A_DAY,
    UNLIMITED,
    Preferences,
    Recipient,
    after_quiet_hours,
    is_quiet,
    plan,
)
from tests.pushes import draft

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # moves by half an hour
ZONES = [BERLIN, NEW_YORK, LORD_HOWE, ZoneInfo("Asia/Shanghai"), ZoneInfo("Pacific/Kiritimati")]
CHANGES = {  # of the clock, forward and back, each zone's own
    BERLIN: ("2027-03-28T01:00Z", "2027-10-31T01:00Z"),
    NEW_YORK: ("2027-03-14T07:00Z", "2027-11-07T06:00Z"),
    LORD_HOWE: ("2027-10-02T15:30Z", "2027-04-03T15:00Z"),
}
TIMES = st.builds(time, st.integers(0, 23), st.integers(0, 59))
NEAR_A_CHANGE = st.sampled_from(sorted(CHANGES, key=str)).flatmap(
    lambda zone: st.tuples(
        st.just(zone),
        st.builds(
            lambda change, seconds: datetime.fromisoformat(change) + timedelta(seconds=seconds),
            st.sampled_from(CHANGES[zone]),
            st.integers(-30 * 3600, 30 * 3600),
        ),
    )
)
ANY_TIME = st.tuples(
    st.sampled_from(ZONES),
    st.integers(1_767_225_600, 1_861_920_000).map(lambda at_s: datetime.fromtimestamp(at_s, UTC)),
)
MOMENTS = st.one_of(NEAR_A_CHANGE, ANY_TIME)
KINDS = st.sampled_from(PushType)


def member(zone: ZoneInfo, quiet_from: time, quiet_until: time, **more: object) -> Recipient:
    """A member with these quiet hours and a device."""
    preferences = Preferences(quiet_from=quiet_from, quiet_until=quiet_until, **more)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return Recipient(1, "en", zone, preferences, devices=1)


def is_quiet_at(instant: datetime, recipient: Recipient) -> bool:
    """Whether it is quiet for the member then."""
    return is_quiet(instant.astimezone(recipient.zone).time(), recipient.preferences)


def minutes_of(span_from: time, span_until: time) -> int:
    """From one time of day to the next such other one, by a clock that nobody moves."""
    minutes = (span_until.hour - span_from.hour) * 60 + span_until.minute - span_from.minute
    return minutes % (24 * 60)


@given(MOMENTS, TIMES, TIMES)
@example((BERLIN, datetime(2027, 3, 28, 0, 59, tzinfo=UTC)), time(22), time(2, 30))
@example((BERLIN, datetime(2027, 3, 28, 0, 59, tzinfo=UTC)), time(3, 15), time(2, 30))
@example((BERLIN, datetime(2027, 3, 27, 2, 30, tzinfo=UTC)), time(3, 15), time(2, 30))
@example((BERLIN, datetime(2027, 10, 31, 1, 10, tzinfo=UTC)), time(22), time(2, 30))
@example((BERLIN, datetime(2027, 10, 31, 0, 10, tzinfo=UTC)), time(2), time(2, 30))
def test_what_is_held_is_held_until_quiet_hours_end(
    moment: tuple[ZoneInfo, datetime], quiet_from: time, quiet_until: time
) -> None:
    """Never into the past, never into quiet hours, never longer than they last."""
    zone, now = moment
    recipient = member(zone, quiet_from, quiet_until)
    due_at = after_quiet_hours(now, recipient)
    assert due_at.utcoffset() == timedelta(0)
    assert not is_quiet_at(due_at, recipient)
    if not is_quiet_at(now, recipient):
        assert due_at == now
        return
    assert due_at > now
    # A time of day that is not quiet may be so short that a change of the clock skips all of it.
    is_never_skipped = minutes_of(quiet_until, quiet_from) > 60
    longest = timedelta(hours=25) if is_never_skipped else timedelta(hours=49)
    assert due_at - now <= longest
    local = due_at.astimezone(zone)
    if local.time() != quiet_until:  # the clock skipped that: as much later as it skips
        skipped_min = minutes_of(quiet_until, local.time())
        assert skipped_min == (30 if zone is LORD_HOWE else 60)
        wall = datetime.combine(local.date(), quiet_until, zone)
        assert wall.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != wall.replace(
            tzinfo=None
        )


@given(ANY_TIME, TIMES, TIMES)
def test_without_a_change_of_the_clock_it_is_the_soonest_end(
    moment: tuple[ZoneInfo, datetime], quiet_from: time, quiet_until: time
) -> None:
    """As a member sees it who looks at the clock every minute."""
    zone, now = moment
    recipient = member(zone, quiet_from, quiet_until)
    within = now + timedelta(hours=48)
    assume(now.astimezone(zone).utcoffset() == within.astimezone(zone).utcoffset())
    minute = now.replace(second=0)
    looked = (minute + timedelta(minutes=number) for number in range(1, 1441))
    soonest = next(at for at in looked if not is_quiet_at(at, recipient))
    expected = soonest if is_quiet_at(now, recipient) else now
    assert after_quiet_hours(now, recipient) == expected


@pytest.mark.parametrize(
    ("now", "quiet", "due"),
    [
        # 22:00 to 08:00 in Berlin, at night: the end is at 06:00 UTC in summer, 07:00 in winter.
        ("2027-03-27T23:00Z", (time(22), time(8)), "2027-03-28T06:00Z"),
        ("2027-10-30T22:00Z", (time(22), time(8)), "2027-10-31T07:00Z"),
        # 02:30 is skipped in March: an hour later by the sun, 03:30 by the clock.
        ("2027-03-28T00:00Z", (time(22), time(2, 30)), "2027-03-28T01:30Z"),
        # 02:30 comes twice in October: whoever is quiet at the second 02:10 waits 20 minutes.
        ("2027-10-31T00:10Z", (time(22), time(2, 30)), "2027-10-31T00:30Z"),
        ("2027-10-31T01:10Z", (time(22), time(2, 30)), "2027-10-31T01:30Z"),
        # Ends are not quiet, beginnings are.
        ("2027-06-01T06:00Z", (time(22), time(8)), "2027-06-01T06:00Z"),
        ("2027-06-01T20:00Z", (time(22), time(8)), "2027-06-02T06:00Z"),
        ("2027-06-01T19:59Z", (time(22), time(8)), "2027-06-01T19:59Z"),
        # Within one day; and equal ends are none.
        ("2027-06-01T11:00Z", (time(13), time(14)), "2027-06-01T12:00Z"),
        ("2027-06-01T11:00Z", (time(13), time(13)), "2027-06-01T11:00Z"),
    ],
)
def test_nights_in_berlin(now: str, quiet: tuple[time, time], due: str) -> None:
    """By hand, over both changes of the clock."""
    held = after_quiet_hours(datetime.fromisoformat(now), member(BERLIN, *quiet))
    assert held == datetime.fromisoformat(due)


@given(MOMENTS, TIMES, TIMES, st.lists(KINDS, max_size=12), st.integers(0, 5), st.data())
def test_the_cap_holds_on_the_day_of_delivery(
    moment: tuple[ZoneInfo, datetime],
    quiet_from: time,
    quiet_until: time,
    kinds: list[PushType],
    before: int,
    data: st.DataObject,
) -> None:
    """3 of a member's day, the first that were asked for; answers to the member are beside that."""
    zone, now = moment
    recipient = member(zone, quiet_from, quiet_until)
    due_at = after_quiet_hours(now, recipient)
    day = due_at.astimezone(zone).date()
    other_day = day + timedelta(days=data.draw(st.sampled_from([-1, 1])))
    recipient.counted = Counter({day: before, other_day: 9})
    drafts = [draft(1, str(number), kind) for number, kind in enumerate(kinds)]
    planned = plan(drafts, {1: recipient}, now)
    assert [entry.draft for entry in planned] == drafts
    limited = [entry for entry in planned if entry.draft.type not in UNLIMITED]
    room = max(0, MOST_A_DAY - before)
    for entry in limited[:room]:
        assert (entry.status, entry.reason) == (PushStatus.QUEUED, None)
        assert (entry.due_at, entry.counted_on) == (due_at, day)
    for entry in limited[room:]:
        assert (entry.status, entry.reason) == (PushStatus.SUPPRESSED, PushReason.DAILY_CAP)
        assert entry.counted_on is None
    for entry in planned:
        if entry.draft.type in UNLIMITED:
            assert (entry.status, entry.due_at) == (PushStatus.QUEUED, now)
            assert entry.counted_on is None
    assert recipient.counted == Counter({day: before + len(limited[:room]), other_day: 9})


@given(KINDS, st.frozensets(KINDS), st.booleans(), st.integers(0, 2), st.integers(0, 5))
def test_the_member_has_the_last_word(
    kind: PushType, muted: frozenset[PushType], enabled: bool, devices: int, counted: int
) -> None:
    """Off comes before muted, that before no device, and that before the cap."""
    now = datetime(2027, 6, 1, 12, tzinfo=UTC)
    preferences = Preferences(enabled, muted)
    recipient = Recipient(1, "en", BERLIN, preferences, devices, Counter({now.date(): counted}))
    (planned,) = plan([draft(1, "news", kind)], {1: recipient}, now)
    expected = None
    if kind not in UNLIMITED and counted >= MOST_A_DAY:
        expected = PushReason.DAILY_CAP
    if devices == 0:
        expected = PushReason.NO_DEVICE
    if kind in muted:
        expected = PushReason.MUTED
    if not enabled:
        expected = PushReason.DISABLED
    assert planned.reason == expected
    assert (planned.status is PushStatus.SUPPRESSED) is (expected is not None)
    assert (planned.title, planned.body) == ("news", "in en")


def test_who_is_not_there_is_left_out() -> None:
    """Others keep their order."""
    now = datetime(2027, 6, 1, 12, tzinfo=UTC)
    drafts = [draft(user_id, str(user_id)) for user_id in (2, 1, 3)]
    here = {key: Recipient(key, "en", BERLIN, Preferences(), 1) for key in (1, 2)}
    assert [entry.draft.user_id for entry in plan(drafts, here, now)] == [2, 1]
