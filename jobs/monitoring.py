"""Watching the mall, and telling operators what is wrong with it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from jobs.job import Payload, Queue, SetJob, StepJob, TalkJob
from models.stores import open_stores
from services.mall import Mall
from services.monitoring.alerts import DELIVER_JOB, TELL_JOB, settle_alerts
from services.monitoring.books import note_full_check, sweep_books
from services.monitoring.figures import read_figures
from services.monitoring.mail import mail_notice
from services.monitoring.measure import measure_figures
from services.monitoring.notices import (
    Channel,
    Notice,
    channels_of,
    find_notice,
    tell_operators,
)
from services.monitoring.rules import judge, thresholds_of
from services.monitoring.webhooks import post_notice
from services.points.verify import verify_ledger
from services.transaction import transaction


async def _check(session: AsyncSession, mall: Mall, _payloads: Sequence[Payload]) -> None:
    now = mall.clock()
    figures = await read_figures(session, now)
    judgement = judge(figures, thresholds_of(mall.settings.alerting))
    await settle_alerts(session, judgement.seen, judgement.over, now)


async def _tell(session: AsyncSession, mall: Mall, payloads: Sequence[Payload]) -> None:
    channels = channels_of(mall.settings.alerting)
    await tell_operators(session, payloads, channels, mall.clock())


async def _measure(mall: Mall, _payload: Payload) -> bool:
    async with transaction(mall.stores.bulk) as session:
        await measure_figures(session, mall.clock(), mall.zone)
    return False


async def _sweep(mall: Mall, _payload: Payload) -> bool:
    async with transaction(mall.stores.bulk) as session:
        await sweep_books(session, mall.clock())
    return False


async def _verify(mall: Mall, _payload: Payload) -> bool:
    """At one moment for all rules; on stores of its own, for its statements may take minutes."""
    unhurried = mall.settings.stores.unhurried()
    async with open_stores(unhurried) as patient, transaction(patient.bulk) as session:
        await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        violations = await verify_ledger(session)
    async with transaction(mall.stores.write) as session:
        await note_full_check(session, violations, mall.clock())
    return False


@dataclass(frozen=True, slots=True)
class _Delivery:
    channel: Channel
    notice: Notice | None


async def _take(session: AsyncSession, _mall: Mall, payload: Payload) -> _Delivery:
    return _Delivery(Channel(payload["channel"]), await find_notice(session, payload))


async def _deliver(mall: Mall, delivery: _Delivery, _stopping: asyncio.Event) -> None:
    settings, notice = mall.settings.alerting, delivery.notice
    if notice is None or delivery.channel not in channels_of(settings):
        return
    if delivery.channel is Channel.MAIL:
        await mail_notice(notice, settings, mall.clock())
    else:
        await post_notice(delivery.channel, notice, settings, mall.clock())


async def _delivered(
    _session: AsyncSession, _mall: Mall, _delivery: _Delivery, _is_ours: bool
) -> datetime | None:
    """The row is done: what could not be delivered has raised, and comes again."""
    return None


JOBS = (
    SetJob("check_alerts", _check),
    SetJob(TELL_JOB, _tell),
    TalkJob(DELIVER_JOB, _take, _deliver, _delivered, Queue.PROMPT_PUSHES),
    StepJob("measure_figures", _measure),
    StepJob("sweep_books", _sweep),
    StepJob("verify_books", _verify),
)
