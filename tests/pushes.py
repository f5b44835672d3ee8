"""Devices and pushes as tests arrange them: the mall's own operations, without HTTP."""

from typing import Any

from models.notifications import DevicePlatform, PushType
from services.bulk import Writes
from services.mall import Mall
from services.notifications.decide import Draft, Planned
from services.notifications.plan import plan_pushes
from services.notifications.register import Device, register_device
from services.transaction import transaction


def draft(
    user_id: int, reference: str, kind: PushType = PushType.CAMPAIGN, **payload: Any
) -> Draft:
    """A push that says what it is about, in the language it is asked for."""
    return Draft(user_id, kind, reference, lambda locale: (reference, f"in {locale}"), payload)


async def plan_now(mall: Mall, *drafts: Draft) -> list[Planned]:
    """Plan pushes in a transaction of their own."""
    async with transaction(mall.stores.write) as session:
        writes = Writes()
        planned = await plan_pushes(session, writes, drafts, mall.clock())
        await writes.flush(session)
    return planned


async def add_device(
    mall: Mall, user_id: int, token: str, platform: DevicePlatform = DevicePlatform.IOS
) -> Device:
    """A device of the user's."""
    async with transaction(mall.stores.write) as session:
        return await register_device(session, user_id, platform, token, mall.clock())
