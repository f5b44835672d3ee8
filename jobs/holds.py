"""What follows points that were held."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from jobs.job import Payload, SetJob
from services.mall import Mall
from services.points.accounts import HOLD_JOB
from services.points.holds import alert_of_holds


async def _alert(session: AsyncSession, mall: Mall, payloads: Sequence[Payload]) -> None:
    await alert_of_holds(session, payloads, mall.clock())


JOBS = (SetJob(HOLD_JOB, _alert),)
