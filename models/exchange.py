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
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, BigId, one_of


class ExchangeStatus(StrEnum):
    """Where an exchange stands (`contract.graphql`, ExchangeStatus)."""

    PENDING = "pending"
    SHIPPED = "shipped"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class CodeStatus(StrEnum):
    """Where an imported coupon code stands."""

    UNUSED = "unused"
    ISSUED = "issued"
    EXPIRED = "expired"


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
        CheckConstraint(
            "(status = 'cancelled') = (cancelled_at IS NOT NULL)"
            " AND (status = 'cancelled') = (refunded_points IS NOT NULL)"
            " AND (status = 'cancelled') = (lapsed_points IS NOT NULL)",
            name="cancelled_says_what_came_back",
        ),
        CheckConstraint(
            "refunded_points + lapsed_points = points AND refunded_points >= 0"
            " AND lapsed_points >= 0",
            name="refund_is_the_price",
        ),
        ForeignKeyConstraint(
            ["user_id", "audit_sequence"],
            ["points_audit_log.user_id", "points_audit_log.sequence"],
        ),
        Index("uq_exchanges_audit_sequence", "user_id", "audit_sequence", unique=True),
        Index("ix_exchanges_user_id_created_at", "user_id", "created_at", "id"),
        Index("ix_exchanges_created_at", "created_at", postgresql_using="brin"),
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
    cancelled_at: Mapped[datetime | None]
    cancel_reason: Mapped[str | None]
    # What came back, and what did not because its lot had ended; together the price.
    refunded_points: Mapped[int | None]
    lapsed_points: Mapped[int | None]


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
    """A coupon that a member holds. No code is ever issued twice.

    `used_reference` is what it was used for, in the words of `used_by`, who honoured it.
    """

    __tablename__ = "user_coupons"
    __table_args__ = (
        one_of("status", CouponStatus),
        CheckConstraint(
            "(status = 'used') = (used_at IS NOT NULL)"
            " AND (status = 'used') = (used_reference IS NOT NULL)",
            name="used_says_for_what",
        ),
        Index("ix_user_coupons_user_id", "user_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    exchange_id: Mapped[UUID] = mapped_column(ForeignKey("exchanges.id"), unique=True)
    code: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str]
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    used_reference: Mapped[str | None]
    used_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))


class CouponCode(Base):
    """A code of an item's imported pool. Issued to one exchange at most, and never again."""

    __tablename__ = "coupon_codes"
    __table_args__ = (
        one_of("status", CodeStatus),
        CheckConstraint(
            "(status = 'issued') = (exchange_id IS NOT NULL)", name="issued_to_an_exchange"
        ),
        CheckConstraint("char_length(code) BETWEEN 1 AND 200", name="code_length"),
        # What is taken next; the unused ones are the item's stock.
        Index(
            "ix_coupon_codes_unused", "item_id", "id", postgresql_where=text("status = 'unused'")
        ),
        Index(
            "ix_coupon_codes_due",
            "expires_at",
            postgresql_where=text("status = 'unused' AND expires_at IS NOT NULL"),
        ),
    )

    id: Mapped[BigId]
    item_id: Mapped[int] = mapped_column(ForeignKey("exchange_items.id"))
    code: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str] = mapped_column(server_default=text("'unused'"))
    expires_at: Mapped[datetime | None]
    exchange_id: Mapped[UUID | None] = mapped_column(ForeignKey("exchanges.id"), unique=True)
    imported_at: Mapped[datetime] = mapped_column(server_default=func.now())


class UserVip(Base):
    """A membership of one level, and when it ends."""

    __tablename__ = "user_vip"
    __table_args__ = (CheckConstraint("level > 0", name="level_positive"),)

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    level: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    expires_at: Mapped[datetime]
