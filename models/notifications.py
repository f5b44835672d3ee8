"""Devices, what members want to be told, and every push that was ever meant for one of them."""

from datetime import date, datetime, time
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Integer, LargeBinary, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Json, one_of

LONGEST_TOKEN = 1_024
"""Characters; APNs and FCM hand out a few hundred. Longer ones would not fit into an index."""
QUIET_FROM, QUIET_UNTIL = time(22), time(8)
"""Quiet hours unless the member says otherwise (`domain.md`, Notifications)."""


class DevicePlatform(StrEnum):
    """Where a device gets its pushes from (`contract.graphql`, DevicePlatform)."""

    IOS = "ios"
    ANDROID = "android"
    WEB = "web"


class PushType(StrEnum):
    """What a push is about (`contract.graphql`, PushType)."""

    EXPIRY_REMINDER = "expiry_reminder"
    TASK_REMINDER = "task_reminder"
    DAILY_CHECK_IN = "daily_check_in"
    EXCHANGE_CONFIRMATION = "exchange_confirmation"
    ACHIEVEMENT = "achievement"
    CAMPAIGN = "campaign"
    ALERT = "alert"


class PushStatus(StrEnum):
    """Where a push stands (`contract.graphql`, PushStatus)."""

    QUEUED = "queued"
    SENT = "sent"
    FAILED = "failed"
    SUPPRESSED = "suppressed"


class PushReason(StrEnum):
    """Why a push was not sent: it is never lost in silence."""

    DISABLED = "disabled"
    MUTED = "muted"
    NO_DEVICE = "no_device"
    DAILY_CAP = "daily_cap"
    NO_CREDENTIALS = "no_credentials"
    REJECTED = "rejected"
    EXPIRED = "expired"


class Device(Base):
    """A phone or browser. Its token belongs to the last user who registered it."""

    __tablename__ = "devices"
    __table_args__ = (
        one_of("platform", DevicePlatform),
        CheckConstraint(f"char_length(token) BETWEEN 1 AND {LONGEST_TOKEN}", name="token_length"),
        Index("ix_devices_user_id", "user_id"),
        Index("ix_devices_platform", "platform", "user_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    platform: Mapped[str]
    token: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]


class PushPreferences(Base):
    """What a member wants to be told, and when not. Its row is locked while pushes are planned."""

    __tablename__ = "push_preferences"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    muted_types: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    quiet_from: Mapped[time] = mapped_column(server_default=text("'22:00:00'"))
    quiet_until: Mapped[time] = mapped_column(server_default=text("'08:00:00'"))


class DeviceUser(Base):
    """Who registered a device of late, by a digest of its token."""

    __tablename__ = "device_users"
    __table_args__ = (
        Index("ix_device_users_user_id", "user_id"),
        Index("ix_device_users_last_seen_at", "last_seen_at"),
    )

    token_digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]


class PushRecord(Base):
    """One push. `reference` says what it is about: of one kind a member gets it once.

    `due_at` is when it may be sent, after quiet hours at the earliest; `counted_on` is the day of
    the member whose cap it counts towards. While it is queued one row of the outbox asks for it.
    """

    __tablename__ = "push_records"
    __table_args__ = (
        one_of("type", PushType),
        one_of("status", PushStatus),
        one_of("reason", PushReason),
        CheckConstraint("status <> 'sent' OR sent_at IS NOT NULL", name="sent_says_when"),
        CheckConstraint(
            "(status IN ('failed', 'suppressed')) = (reason IS NOT NULL)", name="says_why_not"
        ),
        Index("uq_push_records_reference", "user_id", "type", "reference", unique=True),
        Index("ix_push_records_history", "user_id", "created_at", "id"),
        Index(
            "ix_push_records_counted",
            "user_id",
            "counted_on",
            postgresql_where=text("counted_on IS NOT NULL"),
        ),
        # What is forgotten first; ids sort by time.
        Index("ix_push_records_suppressed", "id", postgresql_where=text("status = 'suppressed'")),
        Index("ix_push_records_sent_at", "sent_at", postgresql_where=text("sent_at IS NOT NULL")),
        Index(
            "ix_push_records_campaign_id",
            "campaign_id",
            "status",
            postgresql_include=["opened_at"],
            postgresql_where=text("campaign_id IS NOT NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    type: Mapped[str]
    reference: Mapped[str]
    title: Mapped[str]
    body: Mapped[str]
    payload: Mapped[Json]
    status: Mapped[str]
    reason: Mapped[str | None]
    campaign_id: Mapped[UUID | None] = mapped_column(ForeignKey("campaigns.id"))
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    counted_on: Mapped[date | None]
    attempts: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    sent_at: Mapped[datetime | None]
    opened_at: Mapped[datetime | None]


class PushDelivery(Base):
    """What became of a push on one device: accepted by the provider, or refused for good."""

    __tablename__ = "push_deliveries"
    __table_args__ = (
        CheckConstraint(
            "(provider_message_id IS NULL) <> (refused_because IS NULL)", name="sent_or_refused"
        ),
    )

    push_id: Mapped[UUID] = mapped_column(ForeignKey("push_records.id"), primary_key=True)
    # No foreign key: a device that is gone leaves what was sent to it.
    device_id: Mapped[UUID] = mapped_column(primary_key=True)
    provider_message_id: Mapped[str | None]
    refused_because: Mapped[str | None]
    answered_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Campaign(Base):
    """A push to many, planned page by page: `planned_to` is the last member that was looked at."""

    __tablename__ = "campaigns"
    __table_args__ = (CheckConstraint("recipients >= 0", name="recipients_not_negative"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    title: Mapped[str]
    body: Mapped[str]
    payload: Mapped[Json]
    audience: Mapped[Json]
    recipients: Mapped[int]
    planned: Mapped[int] = mapped_column(server_default=text("0"))
    planned_to: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime]
    planned_at: Mapped[datetime | None]


class ReminderDay(Base):
    """A day of a time zone whose reminders of one kind were asked for: no day comes twice."""

    __tablename__ = "reminder_days"

    kind: Mapped[str] = mapped_column(primary_key=True)
    timezone: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
