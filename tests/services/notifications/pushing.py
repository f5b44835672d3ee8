"""Members with devices, pushes for them, and delivering these as a worker would."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from jobs.job import Job
from jobs.registry import jobs_with
from jobs.runner import Runner
from models.notifications import Device, PushType
from services.bulk import Writes
from services.identifiers import new_id
from services.mall import Mall
from services.notifications.decide import Draft
from services.notifications.open import open_providers
from services.notifications.plan import plan_pushes
from services.outbox import take_due
from services.transaction import transaction
from settings import NotificationSettings
from tests.factories import execute

_DEVICE = ("id", "user_id", "platform", "token", "created_at", "last_seen_at")


@dataclass(frozen=True)
class PostOffice:
    """Runs what is due of the jobs that deliver."""

    mall: Mall
    jobs: Mapping[str, Job]

    async def deliver(self) -> int:
        """Run every job that is due now; returns how many there were."""
        most = dict.fromkeys(self.jobs, 1000)
        async with transaction(self.mall.stores.write) as session:
            taken = await take_due(session, most, self.mall.clock(), 60)
        runner = Runner(self.mall, self.jobs)
        for name, ids in taken.items():
            for identifier in ids:
                await runner.run(name, [identifier])
        return sum(map(len, taken.values()))


@asynccontextmanager
async def post_office(mall: Mall, settings: NotificationSettings) -> AsyncIterator[PostOffice]:
    """Deliver through the providers of these settings, by the clock of the mall."""

    def steady_clock() -> float:
        return mall.clock().timestamp()

    opened = open_providers(
        settings, steady_clock=steady_clock, on_outage=mall.sightings.note_outage
    )
    async with opened as providers:
        yield PostOffice(mall, jobs_with(providers))


async def add_device(mall: Mall, user_id: int, token: str, platform: str = "android") -> UUID:
    """A device that was last seen a day ago."""
    seen_at, key = mall.clock() - timedelta(days=1), new_id()
    async with transaction(mall.stores.write) as session:
        writes = Writes()
        writes.insert(Device, _DEVICE, [(key, user_id, platform, token, seen_at, seen_at)])
        await writes.flush(session)
    return key


async def draft(
    mall: Mall, *user_ids: int, kind: PushType = PushType.EXCHANGE_CONFIRMATION, about: str = "1"
) -> None:
    """Plan a push of that kind about that for each of them."""
    drafts = [
        Draft(user_id, kind, about, lambda _: ("标题", "内容"), {"number": 7, "name": "x"})
        for user_id in user_ids
    ]
    async with transaction(mall.stores.write) as session:
        writes = Writes()
        await plan_pushes(session, writes, drafts, mall.clock())
        await writes.flush(session)


async def pushes(mall: Mall) -> Any:
    """All pushes, (status, reason), in the order in which they were planned."""
    return await execute(mall, "SELECT status, reason FROM push_records ORDER BY user_id, id")


async def devices(mall: Mall) -> list[str]:
    """The tokens of all devices."""
    return [row.token for row in await execute(mall, "SELECT token FROM devices ORDER BY token")]
