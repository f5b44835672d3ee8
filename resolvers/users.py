"""Root fields of users, and `node`."""

from collections.abc import Awaitable, Callable, Mapping
from typing import cast

import strawberry

from resolvers.access import Audience, field_for, mutation_for, require
from schema.achievements import Achievement
from schema.campaigns import Campaign
from schema.catalogue import ExchangeItem
from schema.context import Context, Info
from schema.exchange import Exchange
from schema.experiments import Experiment
from schema.ids import decode_id, int_key, parse_int, parse_uuid
from schema.monitoring import Alert
from schema.node import Node
from schema.notifications import Device, PushRecord
from schema.operators import OperatorAction
from schema.points import PointsChange, PointsRecord
from schema.rewards import Coupon
from schema.sharing import Share
from schema.tasks import Task
from schema.users import (
    SuspendUserInput,
    SuspendUserResult,
    SuspendUserSuccess,
    UpdateProfileInput,
    UpdateProfileResult,
    UpdateProfileSuccess,
    User,
)
from services.errors import BadInput, Unauthenticated
from services.exchange.history import coupons_by_id
from services.experiments.definitions import experiments_by_id
from services.monitoring.browse import find_alert
from services.notifications.campaigns import campaigns_by_id
from services.notifications.history import pushes_by_id
from services.notifications.register import devices_by_id
from services.operators import find_action
from services.points.history import find_change
from services.points.lots import find_lot
from services.sharing.shares import shares_by_id
from services.tasks.browse import member_tasks
from services.transaction import transaction
from services.users.claims import Role
from services.users.profile import users_by_id
from services.users.suspend import suspend_user
from services.users.update_profile import ProfileChanges, update_profile


@strawberry.type
class UsersQuery:
    """Who is asking, and anything by its id."""

    @field_for(Audience.MEMBER)
    async def me(self, info: Info) -> User:
        """The viewer."""
        user_id = info.context.require_viewer().user_id
        async with info.context.read() as session:
            found = await users_by_id(session, [user_id])
        if user_id not in found:
            raise Unauthenticated
        return User.of(found[user_id])

    @field_for(Audience.ANYONE)
    async def node(self, info: Info, id: strawberry.ID) -> Node | None:
        """What the id names; null when it names nothing, or nothing of the viewer's.

        Items are for anyone; everything else is for members, and their own.
        """
        kind, key = decode_id(id)
        find = _FINDERS.get(kind)
        if find is None:
            raise BadInput("the id is malformed")
        if kind != "ExchangeItem":
            require(info.context.viewer, Audience.MEMBER)
        return await find(info.context, key)

    @field_for(Audience.OPERATOR)
    async def user(self, info: Info, id: strawberry.ID) -> User | None:
        """Any user by id; null when there is none."""
        user_id = int_key(id, "User")
        async with info.context.read() as session:
            found = (await users_by_id(session, [user_id])).get(user_id)
        return User.of(found) if found else None


@strawberry.type
class UsersMutation:
    """What members say about themselves, and what operators do about them."""

    @mutation_for(Audience.MEMBER)
    async def update_profile(self, info: Info, input: UpdateProfileInput) -> UpdateProfileResult:
        """Change the viewer's profile; what is answered from now on speaks its language."""
        context = info.context
        user_id = context.require_viewer().user_id
        async with transaction(context.mall.stores.write) as session:
            user = await update_profile(
                session, user_id, _changes(input), context.now(), context.mall.zone
            )
        await context.mall.movements.told()  # whoever looks at a board from now on sees it
        context.speak(user.locale)  # changed or not: another request may have changed it meanwhile
        return UpdateProfileSuccess(user=User.of(user))

    @mutation_for(Audience.OPERATOR)
    async def suspend_user(self, info: Info, input: SuspendUserInput) -> SuspendUserResult:
        """Keep a user from earning and spending until then, or let them again."""
        context = info.context
        async with transaction(context.mall.stores.write) as session:
            user = await suspend_user(
                session,
                context.require_viewer().user_id,
                int_key(input.user_id, "User"),
                input.until,
                input.reason,
                context.now(),
            )
        return SuspendUserSuccess(user=User.of(user))


def _changes(asked: UpdateProfileInput) -> ProfileChanges:
    """The fields that were given, null or not."""
    given = {name: value for name, value in vars(asked).items() if value is not strawberry.UNSET}
    return cast("ProfileChanges", given)


def _may_see(context: Context, owner_id: int) -> bool:
    viewer = context.require_viewer()
    return viewer.user_id == owner_id or Role.OPERATOR in viewer.roles


async def _user(context: Context, key: str) -> User | None:
    user_id = parse_int(key)
    async with context.read() as session:
        user = (await users_by_id(session, [user_id])).get(user_id)
    return User.of(user) if user and _may_see(context, user.id) else None


async def _lot(context: Context, key: str) -> PointsRecord | None:
    lot_id = parse_uuid(key)
    async with context.read() as session:
        lot = await find_lot(session, lot_id, context.now())
    return PointsRecord.of(lot) if lot and _may_see(context, lot.user_id) else None


async def _change(context: Context, key: str) -> PointsChange | None:
    owner, _, sequence = key.partition("-")
    owner_id, number = parse_int(owner), parse_int(sequence)
    if not _may_see(context, owner_id) or number > 2**31 - 1:
        return None
    async with context.read() as session:
        entry = await find_change(session, owner_id, number)
    return PointsChange.of(entry) if entry else None


async def _task(context: Context, key: str) -> Task | None:
    task_id = parse_int(key)
    async with context.read() as session:
        seen = await member_tasks(
            session,
            context.require_viewer().user_id,
            context.now(),
            context.mall.zone,
            task_id=task_id,
        )
    return Task.of(seen[0]) if seen else None


async def _item(context: Context, key: str) -> ExchangeItem | None:
    item = await context.loaders.item.load(parse_int(key))
    return ExchangeItem.of(item) if item else None


async def _exchange(context: Context, key: str) -> Exchange | None:
    exchange = await context.loaders.exchange.load(parse_uuid(key))
    return Exchange.of(exchange) if exchange and _may_see(context, exchange.user_id) else None


async def _coupon(context: Context, key: str) -> Coupon | None:
    coupon_id = parse_uuid(key)
    async with context.read() as session:
        coupon = (await coupons_by_id(session, [coupon_id], context.now())).get(coupon_id)
    return Coupon.of(coupon) if coupon and _may_see(context, coupon.user_id) else None


async def _action(context: Context, key: str) -> OperatorAction | None:
    action_id = parse_uuid(key)
    if Role.OPERATOR not in context.require_viewer().roles:
        return None
    async with context.read() as session:
        action = await find_action(session, action_id)
    return OperatorAction.of(action) if action else None


async def _device(context: Context, key: str) -> Device | None:
    device_id = parse_uuid(key)
    async with context.read() as session:
        device = (await devices_by_id(session, [device_id])).get(device_id)
    return Device.of(device) if device and _may_see(context, device.user_id) else None


async def _push(context: Context, key: str) -> PushRecord | None:
    push_id = parse_uuid(key)
    async with context.read() as session:
        push = (await pushes_by_id(session, [push_id])).get(push_id)
    return PushRecord.of(push) if push and _may_see(context, push.user_id) else None


async def _achievement(context: Context, key: str) -> Achievement | None:
    viewer = context.require_viewer()
    seen = await context.loaders.achievement.load((viewer.user_id, parse_int(key)))
    is_hidden = seen is None or not (seen.is_active or seen.unlocked_at)
    if seen is None or (is_hidden and Role.OPERATOR not in viewer.roles):
        return None
    return Achievement.of(seen, context.locale)


async def _campaign(context: Context, key: str) -> Campaign | None:
    campaign_id = parse_uuid(key)
    if Role.OPERATOR not in context.require_viewer().roles:
        return None
    async with context.read() as session:
        campaign = (await campaigns_by_id(session, [campaign_id])).get(campaign_id)
    return Campaign.of(campaign) if campaign else None


async def _experiment(context: Context, key: str) -> Experiment | None:
    experiment_id = parse_int(key)
    if Role.OPERATOR not in context.require_viewer().roles:
        return None
    async with context.read() as session:
        experiment = (await experiments_by_id(session, [experiment_id])).get(experiment_id)
    return Experiment.of(experiment) if experiment else None


async def _alert(context: Context, key: str) -> Alert | None:
    alert_id = parse_uuid(key)
    if Role.OPERATOR not in context.require_viewer().roles:
        return None
    async with context.read() as session:
        alert = await find_alert(session, alert_id)
    return Alert.of(alert) if alert else None


async def _share(context: Context, key: str) -> Share | None:
    share_id = parse_uuid(key)
    async with context.read() as session:
        share = (await shares_by_id(session, [share_id])).get(share_id)
    if share is None or not _may_see(context, share.user_id):
        return None
    return Share.of(share, context.mall.settings.public_url)


_FINDERS: Mapping[str, Callable[[Context, str], Awaitable[Node | None]]] = {
    "User": _user,
    "PointsRecord": _lot,
    "PointsChange": _change,
    "Task": _task,
    "ExchangeItem": _item,
    "Exchange": _exchange,
    "Coupon": _coupon,
    "OperatorAction": _action,
    "Device": _device,
    "PushRecord": _push,
    "Campaign": _campaign,
    "Achievement": _achievement,
    "Share": _share,
    "Experiment": _experiment,
    "Alert": _alert,
}
