"""What becomes of a push after its devices were tried (`domain.md`, Notifications). Pure."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson

from models.notifications import PushReason, PushStatus, PushType
from services.backoff import pause_s
from services.identifiers import global_id
from services.notifications.decide import UNLIMITED, Preferences, after_quiet_hours, refusal
from services.notifications.providers import (
    NotTried,
    Outcome,
    PayloadRejected,
    Platform,
    PushMessage,
    RetryLater,
    Sent,
)

LIFETIME = timedelta(hours=24)
"""How long a push is tried: later it would tell nobody anything."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 900.0


@dataclass(frozen=True, slots=True)
class Target:
    """A device that a push is for, as it was when the push was taken."""

    device_id: UUID
    platform: Platform
    token: str


@dataclass(slots=True)
class DuePush:
    """A push that a worker has taken, and the devices that have not got it yet.

    `is_refused`: a provider refused it for good, for a device that is still there.
    """

    id: UUID
    user_id: int
    type: PushType
    title: str
    body: str
    payload: Mapping[str, Any]
    attempts: int
    due_at: datetime
    counted_on: date | None
    delivered: int
    zone: ZoneInfo
    preferences: Preferences
    targets: list[Target] = field(default_factory=list[Target])
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class Resolution:
    """Where a push stands now: resolved, or to be tried again at `again_at`."""

    status: PushStatus
    reason: PushReason | None = None
    again_at: datetime | None = None


def message_of(push: DuePush, target: Target) -> PushMessage:
    """What the provider gets. Stable, so that a repeat replaces what the device shows."""
    data = texts_of(push.payload)
    data |= {"pushId": global_id("PushRecord", push.id), "type": push.type.name}
    return PushMessage(target.token, push.title, push.body, data, push.id.hex)


def texts_of(payload: Mapping[str, Any]) -> dict[str, str]:
    """A payload as it travels: FCM carries strings only."""
    return {
        name: value if isinstance(value, str) else orjson.dumps(value).decode()
        for name, value in payload.items()
    }


def before_sending(
    push: DuePush, platforms: Sequence[Platform], now: datetime
) -> Resolution | None:
    """Why a push is not sent at all, though it was queued; None when it is to be sent.

    `platforms` are those that can be reached. What the member has chosen meanwhile holds.
    """
    if push.delivered and not push.targets:
        return Resolution(PushStatus.SENT)
    if push.is_refused and not push.targets:
        return Resolution(PushStatus.FAILED, PushReason.REJECTED)
    if is_too_late(push, now):
        return in_the_end(push, PushReason.EXPIRED)
    free_at = now if push.type in UNLIMITED else after_quiet_hours(now, push)
    if free_at > now:  # planned for the day, but late: a worker or a provider was away
        return Resolution(PushStatus.QUEUED, None, free_at)
    reason = refusal(push.type, push.preferences, len(push.targets) + push.delivered)
    if reason is None and not any(target.platform in platforms for target in push.targets):
        reason = PushReason.NO_CREDENTIALS
    return None if reason is None else in_the_end(push, reason)


def is_too_late(push: DuePush, now: datetime) -> bool:
    """Whether it has waited for so long that it would tell nobody anything."""
    return now - push.due_at > LIFETIME


def in_the_end(push: DuePush, reason: PushReason) -> Resolution:
    """What a push that is not to be tried any more has become."""
    if push.delivered:
        return Resolution(PushStatus.SENT)
    is_failure = reason in (PushReason.EXPIRED, PushReason.REJECTED)
    return Resolution(PushStatus.FAILED if is_failure else PushStatus.SUPPRESSED, reason)


def after_sending(
    push: DuePush, outcomes: Sequence[Outcome], now: datetime, chance: float
) -> Resolution:
    """Decide by what the providers said of each device; `chance` in [0, 1) is the jitter.

    While a device is to be tried again the push stays queued, whoever got it already.
    """
    if any(isinstance(outcome, RetryLater | NotTried) for outcome in outcomes):
        again_at = now + timedelta(seconds=_wait_s(push, outcomes, chance))
        return Resolution(PushStatus.QUEUED, None, again_at)
    if push.delivered or any(isinstance(outcome, Sent) for outcome in outcomes):
        return Resolution(PushStatus.SENT)
    is_rejected = any(isinstance(outcome, PayloadRejected) for outcome in outcomes)
    return Resolution(
        PushStatus.FAILED, PushReason.REJECTED if is_rejected else PushReason.NO_DEVICE
    )


def _wait_s(push: DuePush, outcomes: Sequence[Outcome], chance: float) -> float:
    """Until every device may be tried again. Only trying in vain adds a pause of our own."""
    asked_s = max(
        outcome.after_s or 0.0 for outcome in outcomes if isinstance(outcome, RetryLater | NotTried)
    )
    if not any(isinstance(outcome, RetryLater) for outcome in outcomes):
        return asked_s
    own_s = pause_s(push.attempts, chance, first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S)
    return max(asked_s, own_s)


def is_attempt(outcomes: Sequence[Outcome]) -> bool:
    """Whether any provider was asked at all."""
    return any(not isinstance(outcome, NotTried) for outcome in outcomes)


def jitter() -> float:
    """Chance that spreads what failed together."""
    return random.random()  # noqa: S311 — no secret hangs on it
