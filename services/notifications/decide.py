"""Deciding whether and when a push is sent (`domain.md`, Notifications). Pure: no clock, no store.

Nothing is lost in silence: a push that is not to be sent is a record that says why.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from models.notifications import QUIET_FROM, QUIET_UNTIL, PushReason, PushStatus, PushType

MOST_A_DAY = 3
"""Pushes a member gets a day, confirmations excepted."""
UNLIMITED = frozenset({PushType.EXCHANGE_CONFIRMATION})
"""Kinds that answer what the member just did: neither held in quiet hours nor counted."""

Words = Callable[[str], tuple[str, str]]
"""Title and body in the language of a locale."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A push that somebody should get. `reference` says what it is about: it comes once."""

    user_id: int
    type: PushType
    reference: str
    words: Words
    payload: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a member wants to be told, and when not, in the member's own time."""

    enabled: bool = True
    muted_types: frozenset[PushType] = frozenset()
    quiet_from: time = QUIET_FROM
    quiet_until: time = QUIET_UNTIL


@dataclass(slots=True)
class Recipient:
    """A member as far as pushes are concerned; `counted` are pushes by day of the member."""

    user_id: int
    locale: str
    zone: ZoneInfo
    preferences: Preferences
    devices: int
    counted: Counter[date] = field(default_factory=Counter[date])


class KeepsHours(Protocol):
    """Whoever has quiet hours, in a time zone of their own."""

    zone: ZoneInfo
    preferences: Preferences


@dataclass(frozen=True, slots=True)
class Planned:
    """What becomes of a draft: queued until `due_at`, or suppressed for a reason."""

    draft: Draft
    title: str
    body: str
    status: PushStatus
    reason: PushReason | None
    due_at: datetime
    counted_on: date | None


def is_quiet(at: time, preferences: Preferences) -> bool:
    """Whether a time of day lies in the quiet hours, which may span midnight; equal ends: none."""
    start, end = preferences.quiet_from, preferences.quiet_until
    if start <= end:
        return start <= at < end
    return at >= start or at < end


def after_quiet_hours(now: datetime, recipient: KeepsHours) -> datetime:
    """`now`, or the end of the quiet hours it lies in, in UTC.

    An end that the clock skips comes as much later; of one that comes twice the next counts. Should
    an end be quiet itself, for the clock skipped all that is not, it is the next day's.
    """
    if not _is_quiet_for(recipient, now):
        return now
    ends = _ends_of_quiet_hours(now, recipient)
    return min(end for end in ends if end > now and not _is_quiet_for(recipient, end))


def _is_quiet_for(recipient: KeepsHours, instant: datetime) -> bool:
    return is_quiet(instant.astimezone(recipient.zone).time(), recipient.preferences)


def _ends_of_quiet_hours(now: datetime, recipient: KeepsHours) -> Iterator[datetime]:
    """Those of today and the two days after, in UTC; both of an hour that comes twice."""
    today = now.astimezone(recipient.zone).date()
    for days in range(3):
        day, ends = today + timedelta(days=days), recipient.preferences.quiet_until
        for fold in (0, 1):
            local = datetime.combine(day, ends.replace(fold=fold), recipient.zone)
            yield local.astimezone(UTC)


def plan(drafts: Sequence[Draft], recipients: dict[int, Recipient], now: datetime) -> list[Planned]:
    """Decide about drafts in their order; those whose recipient is unknown are left out.

    What is queued counts at once, so that one call never queues more than the cap allows.
    """
    return [
        _plan_one(draft, recipients[draft.user_id], now)
        for draft in drafts
        if draft.user_id in recipients
    ]


def _plan_one(draft: Draft, recipient: Recipient, now: datetime) -> Planned:
    title, body = draft.words(recipient.locale)
    is_limited = draft.type not in UNLIMITED
    due_at = after_quiet_hours(now, recipient) if is_limited else now
    day = due_at.astimezone(recipient.zone).date()
    reason = refusal(draft.type, recipient.preferences, recipient.devices)
    if reason is None and is_limited and recipient.counted[day] >= MOST_A_DAY:
        reason = PushReason.DAILY_CAP
    if reason is not None:
        return Planned(draft, title, body, PushStatus.SUPPRESSED, reason, now, None)
    if is_limited:
        recipient.counted[day] += 1
    counted_on = day if is_limited else None
    return Planned(draft, title, body, PushStatus.QUEUED, None, due_at, counted_on)


def refusal(kind: PushType, preferences: Preferences, devices: int) -> PushReason | None:
    """Why a member gets no push of a kind at all; None when nothing stands against it."""
    if not preferences.enabled:
        return PushReason.DISABLED
    if kind in preferences.muted_types:
        return PushReason.MUTED
    return PushReason.NO_DEVICE if devices == 0 else None
