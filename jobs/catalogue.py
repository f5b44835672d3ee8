"""What follows a change of the catalogue."""

from collections.abc import Sequence
from datetime import date

from sqlalchemy.ext.asyncio import AsyncSession

from jobs.job import Payload, Queue, SetJob
from services.catalogue.restock import BACK_IN_STOCK_JOB, WisherPage, tell_wishers
from services.mall import Mall


async def _tell_wishers(session: AsyncSession, mall: Mall, payloads: Sequence[Payload]) -> None:
    for payload in payloads:
        day = payload.get("day")
        page = WisherPage(
            payload["item_id"], payload.get("after", 0), date.fromisoformat(day) if day else None
        )
        await tell_wishers(session, page, mall.clock(), mall.zone)


JOBS = (SetJob(BACK_IN_STOCK_JOB, _tell_wishers, Queue.BULK, batch=1),)
