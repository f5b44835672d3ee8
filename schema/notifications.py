"""Devices, push preferences, and the pushes a member got or was meant to get."""

from datetime import datetime, time
from typing import Annotated

import strawberry
from strawberry.scalars import JSON

from models.notifications import DevicePlatform, PushReason, PushStatus, PushType
from schema.ids import encode_id
from schema.node import Node, PageInfo, page_info
from schema.problems import InvalidInput, NotFound
from services.notifications import decide, history, register
from services.paging import Page

strawberry.enum(DevicePlatform)
strawberry.enum(PushType)
strawberry.enum(PushStatus)
strawberry.enum(PushReason)


@strawberry.type
class Device(Node):
    """A phone or browser of the viewer's."""

    platform: DevicePlatform
    created_at: datetime
    last_seen_at: datetime

    @classmethod
    def of(cls, device: register.Device) -> "Device":
        """The contract's view of a device; its token is not given out again."""
        return cls(
            id=encode_id("Device", device.id),
            platform=device.platform,
            created_at=device.created_at,
            last_seen_at=device.last_seen_at,
        )


@strawberry.type
class PushPreferences:
    """What a member wants to be told, and when not."""

    enabled: bool
    muted_types: list[PushType]
    quiet_hours_start: str = strawberry.field(
        description="HH:MM in the member's time zone; equal ends mean no quiet hours."
    )
    quiet_hours_end: str

    @classmethod
    def of(cls, preferences: decide.Preferences) -> "PushPreferences":
        """The contract's view of preferences."""
        return cls(
            enabled=preferences.enabled,
            muted_types=[kind for kind in PushType if kind in preferences.muted_types],
            quiet_hours_start=_written(preferences.quiet_from),
            quiet_hours_end=_written(preferences.quiet_until),
        )


def _written(at: time) -> str:
    return at.isoformat("minutes")


@strawberry.type
class PushRecord(Node):
    """One push."""

    type: PushType
    title: str
    body: str
    status: PushStatus
    reason: PushReason | None = strawberry.field(
        description="Why it was suppressed or failed; null for the others."
    )
    payload: JSON
    created_at: datetime
    sent_at: datetime | None
    opened_at: datetime | None

    @classmethod
    def of(cls, push: history.Push) -> "PushRecord":
        """The contract's view of a push."""
        return cls(
            id=encode_id("PushRecord", push.id),
            type=push.type,
            title=push.title,
            body=push.body,
            status=push.status,
            reason=push.reason,
            payload=JSON(push.payload),
            created_at=push.created_at,
            sent_at=push.sent_at,
            opened_at=push.opened_at,
        )


@strawberry.type
class PushRecordEdge:
    """A push in a list."""

    cursor: str
    node: PushRecord


@strawberry.type
class PushRecordConnection:
    """A page of pushes."""

    edges: list[PushRecordEdge]
    nodes: list[PushRecord]
    page_info: PageInfo

    @classmethod
    def of(cls, page: Page[history.Push]) -> "PushRecordConnection":
        """The contract's view of a page of pushes."""
        nodes = [PushRecord.of(push) for push in page.rows]
        edges = [PushRecordEdge(cursor=c, node=n) for c, n in zip(page.cursors, nodes, strict=True)]
        return cls(edges=edges, nodes=nodes, page_info=page_info(page))


@strawberry.input
class RegisterDeviceInput:
    """`token`: as FCM or APNs handed it out, 1 to 1,024 printable ASCII characters."""

    platform: DevicePlatform
    token: str


@strawberry.type
class RegisterDeviceSuccess:
    """The device as it now is."""

    device: Device


RegisterDeviceResult = Annotated[
    RegisterDeviceSuccess | InvalidInput, strawberry.union("RegisterDeviceResult")
]


@strawberry.input
class UnregisterDeviceInput:
    """Which device."""

    token: str


@strawberry.type
class UnregisterDeviceSuccess:
    """Whether the viewer had a device with that token."""

    removed: bool


UnregisterDeviceResult = Annotated[
    UnregisterDeviceSuccess | InvalidInput, strawberry.union("UnregisterDeviceResult")
]


@strawberry.input
class UpdatePushPreferencesInput:
    """What to change: a field that is left out or null stays; `mutedTypes` replaces the list."""

    enabled: bool | None = None
    muted_types: list[PushType] | None = None
    quiet_hours_start: str | None = None
    quiet_hours_end: str | None = None


@strawberry.type
class UpdatePushPreferencesSuccess:
    """The preferences as they now are."""

    preferences: PushPreferences


UpdatePushPreferencesResult = Annotated[
    UpdatePushPreferencesSuccess | InvalidInput, strawberry.union("UpdatePushPreferencesResult")
]


@strawberry.input
class MarkPushOpenedInput:
    """Which push."""

    push_id: strawberry.ID


@strawberry.type
class MarkPushOpenedSuccess:
    """The push as it now is; `openedAt` stays null for one that cannot have arrived."""

    push: PushRecord


MarkPushOpenedResult = Annotated[
    MarkPushOpenedSuccess | NotFound, strawberry.union("MarkPushOpenedResult")
]
