"""What follows the first task of a member whom somebody invited."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from jobs.job import Payload, SetJob
from services.mall import Mall
from services.sharing.reward import reward_invites
from services.tasks.first_task import REWARD_JOB


async def _reward(session: AsyncSession, mall: Mall, payloads: Sequence[Payload]) -> None:
    invite_ids = [UUID(payload["invite_id"]) for payload in payloads]
    await reward_invites(session, invite_ids, clock=mall.clock, zone=mall.zone)


JOBS = (SetJob(REWARD_JOB, _reward),)
