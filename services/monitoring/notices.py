"""What operators are told of an alert: one notice per channel, each with an id of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, cast
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from models.monitoring import Alert, AlertSeverity
from services.bulk import Writes
from services.identifiers import global_id, new_id
from services.monitoring.alerts import DELIVER_JOB, NEVER_SENT, Telling
from services.outbox import enqueue
from settings import AlertingSettings

_MOST_IN_A_TEXT = 20
"""How many members a text names: people read it. A webhook gets them all."""

_log = structlog.get_logger(__name__)


class Channel(StrEnum):
    """A way to operators."""

    WEBHOOK = "webhook"
    DINGTALK = "dingtalk"
    SLACK = "slack"
    MAIL = "mail"


@dataclass(frozen=True, slots=True)
class Notice:
    """An alert as it was when operators were to be told of it.

    `delivery_id` is the same however often it is tried to deliver the notice: who gets it twice
    can tell. `told_at` orders the notices of an alert, which may arrive in another order.
    """

    delivery_id: str
    telling: Telling
    told_at: str
    alert: Mapping[str, Any]

    @property
    def title(self) -> str:
        """What it is about, in a few words."""
        return f"[{self.alert['severity'].upper()}] {self.alert['kind']} {self.telling}"

    @property
    def text(self) -> str:
        """What is said of it, in lines."""
        alert = self.alert
        seen = f"First seen {alert['firstSeenAt']}, last {alert['lastSeenAt']}"
        times = f"{alert['occurrences']} time(s)"
        lines = [alert["message"], f"{seen}, {times}", f"Alert {alert['id']}"]
        return "\n".join([*lines, f"alertId: {self._global_id}", *self._said_of_members()])

    @property
    def published(self) -> dict[str, Any]:
        """The alert with the names that GraphQL has for it and for the members it names.

        They are made when it is sent: what waited since before it had them has them too.
        """
        names = {"globalId": self._global_id, "type": self.alert["kind"], "userIds": self._user_ids}
        return {**self.alert, **names}

    @property
    def _global_id(self) -> str:
        return global_id("Alert", self.alert["id"])

    @property
    def _numbers(self) -> list[int]:
        return self.alert["facts"].get("user_ids", [])

    @property
    def _user_ids(self) -> list[str]:
        return [global_id("User", number) for number in self._numbers]

    def _said_of_members(self) -> list[str]:
        named = list(zip(self._numbers, self._user_ids, strict=True))
        lines = [f"userId: {key} (member {number})" for number, key in named[:_MOST_IN_A_TEXT]]
        more = len(named) - len(lines)
        return [*lines, f"and {more} more"] if more else lines


def channels_of(settings: AlertingSettings) -> tuple[Channel, ...]:
    """The channels that have an address."""
    addresses = {
        Channel.WEBHOOK: settings.alert_webhook_url,
        Channel.DINGTALK: settings.alert_dingtalk_url,
        Channel.SLACK: settings.alert_slack_url,
        Channel.MAIL: settings.mail_recipients,
    }
    return tuple(channel for channel, address in addresses.items() if address)


async def tell_operators(
    session: AsyncSession,
    payloads: Sequence[Mapping[str, Any]],
    channels: Sequence[Channel],
    now: datetime,
) -> None:
    """Log what there is to tell, and ask for a notice to be delivered by each channel.

    Each is a job of its own: a channel that is dead repeats no other.
    """
    writes = Writes()
    for payload in payloads:
        telling = Telling(payload["telling"])
        alert = (await session.execute(_by_id(payload["alert_id"]))).scalar_one()
        shown = _shown(alert)
        _note(telling, shown)
        if alert.kind not in NEVER_SENT:
            notices = [_notice(channel, telling, shown, now) for channel in channels]
            enqueue(writes, DELIVER_JOB, notices, now)
    await writes.flush(session)


def _by_id(alert_id: str) -> Any:
    return select(Alert).where(Alert.id == UUID(alert_id))


async def find_notice(session: AsyncSession, payload: Mapping[str, Any]) -> Notice | None:
    """What is to be delivered; None for a repeat that says no more what is so."""
    notice = cast("dict[str, Any]", payload["notice"])
    telling = Telling(notice["telling"])
    if telling is Telling.REPEATED:
        alert = (await session.execute(_by_id(notice["alert"]["id"]))).scalar_one()
        if alert.resolved_at is not None or alert.acknowledged_at is not None:
            return None
    return Notice(notice["delivery_id"], telling, notice["told_at"], notice["alert"])


def _notice(
    channel: Channel, telling: Telling, shown: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    notice = {
        "delivery_id": str(new_id()),
        "telling": telling,
        "told_at": now.isoformat(),
        "alert": shown,
    }
    return {"channel": channel, "notice": notice}


def _shown(alert: Alert) -> dict[str, Any]:
    return {
        "id": str(alert.id),
        "kind": alert.kind,
        "severity": alert.severity,
        "message": alert.message,
        "facts": alert.facts,
        "firstSeenAt": alert.first_seen_at.isoformat(),
        "lastSeenAt": alert.last_seen_at.isoformat(),
        "occurrences": alert.occurrences,
        "acknowledgedAt": alert.acknowledged_at and alert.acknowledged_at.isoformat(),
        "resolvedAt": alert.resolved_at and alert.resolved_at.isoformat(),
    }


def _note(telling: Telling, shown: Mapping[str, Any]) -> None:
    is_high = shown["severity"] == AlertSeverity.HIGH
    write = _log.info if telling is Telling.RESOLVED else _log.error if is_high else _log.warning
    write("alert", telling=telling, **shown)
