"""Root fields of devices, push preferences and the history of pushes."""

import strawberry

from resolvers.access import Audience, field_for, mutation_for
from schema.context import Info
from schema.ids import uuid_key
from schema.notifications import (
    Device,
    MarkPushOpenedInput,
    MarkPushOpenedResult,
    MarkPushOpenedSuccess,
    PushPreferences,
    PushRecord,
    PushRecordConnection,
    RegisterDeviceInput,
    RegisterDeviceResult,
    RegisterDeviceSuccess,
    UnregisterDeviceInput,
    UnregisterDeviceResult,
    UnregisterDeviceSuccess,
    UpdatePushPreferencesInput,
    UpdatePushPreferencesResult,
    UpdatePushPreferencesSuccess,
)
from services.notifications.history import mark_opened, pushes_page
from services.notifications.preferences import PreferenceChanges, update_preferences
from services.notifications.register import register_device, unregister_device
from services.paging import require_page_size
from services.transaction import transaction


@strawberry.type
class NotificationsQuery:
    """What a member was told."""

    @field_for(Audience.MEMBER)
    async def push_history(
        self, info: Info, first: int | None = 20, after: str | None = None
    ) -> PushRecordConnection:
        """The viewer's pushes, newest first, with those that were held back or not sent."""
        user_id, size = info.context.require_viewer().user_id, require_page_size(first)
        async with info.context.read() as session:
            page = await pushes_page(session, user_id, size=size, after=after)
        return PushRecordConnection.of(page)


@strawberry.type
class NotificationsMutation:
    """Where a member is told things, and what about. No points move: the suspended may too."""

    @mutation_for(Audience.MEMBER)
    async def register_device(self, info: Info, input: RegisterDeviceInput) -> RegisterDeviceResult:
        """Send the viewer's pushes to a device, and to it nobody else's."""
        context = info.context
        user_id = context.require_viewer().user_id
        async with transaction(context.mall.stores.write) as session:
            device = await register_device(
                session, user_id, input.platform, input.token, context.now()
            )
        return RegisterDeviceSuccess(device=Device.of(device))

    @mutation_for(Audience.MEMBER)
    async def unregister_device(
        self, info: Info, input: UnregisterDeviceInput
    ) -> UnregisterDeviceResult:
        """Send nothing more to one of the viewer's devices."""
        context = info.context
        user_id = context.require_viewer().user_id
        async with transaction(context.mall.stores.write) as session:
            removed = await unregister_device(session, user_id, input.token)
        return UnregisterDeviceSuccess(removed=removed)

    @mutation_for(Audience.MEMBER)
    async def update_push_preferences(
        self, info: Info, input: UpdatePushPreferencesInput
    ) -> UpdatePushPreferencesResult:
        """Change what the viewer wants to be told, and when not."""
        context = info.context
        user_id = context.require_viewer().user_id
        async with transaction(context.mall.stores.write) as session:
            preferences = await update_preferences(
                session, user_id, PreferenceChanges(**vars(input))
            )
        return UpdatePushPreferencesSuccess(preferences=PushPreferences.of(preferences))

    @mutation_for(Audience.MEMBER)
    async def mark_push_opened(
        self, info: Info, input: MarkPushOpenedInput
    ) -> MarkPushOpenedResult:
        """Note that the viewer opened a push; the first time stays."""
        context = info.context
        user_id = context.require_viewer().user_id
        push_id = uuid_key(input.push_id, "PushRecord")
        async with transaction(context.mall.stores.write) as session:
            push = await mark_opened(session, user_id, push_id, context.now())
        return MarkPushOpenedSuccess(push=PushRecord.of(push))
