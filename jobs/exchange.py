"""What follows an exchange."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from jobs.job import Payload, SetJob
from services.exchange.confirm import confirm_exchanges
from services.exchange.place import CONFIRMATION_JOB
from services.mall import Mall


async def _confirm(session: AsyncSession, mall: Mall, payloads: Sequence[Payload]) -> None:
    exchange_ids = [UUID(payload["exchange_id"]) for payload in payloads]
    await confirm_exchanges(session, exchange_ids, mall.clock())


JOBS = (SetJob(CONFIRMATION_JOB, _confirm),)
