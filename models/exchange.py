"""Exchanges and the rewards they gave."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    SmallInteger,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, one_of


class ExchangeStatus(StrEnum):
    """Where an exchange stands (`contract.graphql`, ExchangeStatus)."""

    PENDING = "pending"
    SHIPPED = "shipped"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class CouponStatus(StrEnum):
    """Where a coupon stands (`contract.graphql`, CouponStatus)."""

    ACTIVE = "active"
    USED = "used"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Exchange(Base):
    """One purchase. `audit_sequence` names the change of the balance that paid for it."""

    __tablename__ = "exchanges"
    __table_args__ = (
        one_of("status", ExchangeStatus),
        CheckConstraint("points > 0", name="points_positive"),
        ForeignKeyConstraint(
            ["user_id", "audit_sequence"],
            ["points_audit_log.user_id", "points_audit_log.sequence"],
        ),
        Index("uq_exchanges_audit_sequence", "user_id", "audit_sequence", unique=True),
        Index("ix_exchanges_user_id_created_at", "user_id", "created_at", "id"),
        # What counts towards a per-user limit.
        Index(
            "ix_exchanges_per_user_limit",
            "user_id",
            "item_id",
            "created_at",
            postgresql_where=text("status <> 'cancelled'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    item_id: Mapped[int] = mapped_column(ForeignKey("exchange_items.id"))
    audit_sequence: Mapped[int] = mapped_column(Integer)
    points: Mapped[int]
    status: Mapped[str]
    vip_level: Mapped[int | None] = mapped_column(SmallInteger)
    vip_days: Mapped[int | None] = mapped_column(Integer)
    vip_expires_at: Mapped[datetime | None]
    delivery_note: Mapped[str | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Shipment(Base):
    """Where a physical item goes. Apart from the exchange, for it is personal data."""

    __tablename__ = "shipments"

    exchange_id: Mapped[UUID] = mapped_column(ForeignKey("exchanges.id"), primary_key=True)
    recipient: Mapped[str | None]
    phone: Mapped[str | None]
    address: Mapped[str | None]
    carrier: Mapped[str | None]
    tracking_number: Mapped[str | None]


class UserCoupon(Base):
    """A coupon that a member holds. No code is ever issued twice."""

    __tablename__ = "user_coupons"
    __table_args__ = (
        one_of("status", CouponStatus),
        Index("ix_user_coupons_user_id", "user_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    exchange_id: Mapped[UUID] = mapped_column(ForeignKey("exchanges.id"), unique=True)
    code: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str]
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime]


class UserVip(Base):
    """A membership of one level, and when it ends."""

    __tablename__ = "user_vip"
    __table_args__ = (CheckConstraint("level > 0", name="level_positive"),)

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    level: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    expires_at: Mapped[datetime]
