"""The ledger: lots, the audit log, who drew from which lot, and settled idempotency keys."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Json, one_of


class PointsRecordStatus(StrEnum):
    """Where a lot stands (`contract.graphql`, PointsRecordStatus)."""

    PENDING = "pending"
    ACTIVE = "active"
    USED = "used"
    EXPIRED = "expired"
    REVERSED = "reversed"


class HoldReason(StrEnum):
    """Why points are held until an operator decides."""

    GAINS = "gains"
    INVITES = "invites"
    SHARED_DEVICE = "shared_device"


class PointsAction(StrEnum):
    """What changed a balance (`contract.graphql`, PointsAction)."""

    EARN = "earn"
    REDEEM = "redeem"
    EXPIRE = "expire"
    ADJUST = "adjust"
    REFUND = "refund"
    REVERSE = "reverse"
    EXTEND = "extend"


class PointsRecord(Base):
    """A lot: one grant of points with its own expiry.

    `points` is what is left; `withheld_points` was taken back before the lot became active, so it
    never reached the balance; neither did `rejected_points` of a lot that was held. An expired lot
    keeps what it had left at that moment, so that for every lot: original = points + withheld +
    rejected + what was drawn from it.
    """

    __tablename__ = "points_records"
    __table_args__ = (
        one_of("status", PointsRecordStatus),
        CheckConstraint("original_points > 0", name="original_points_positive"),
        CheckConstraint("points BETWEEN 0 AND original_points", name="points_in_range"),
        CheckConstraint("status <> 'used' OR points = 0", name="used_is_empty"),
        CheckConstraint("status <> 'active' OR points > 0", name="active_has_points"),
        CheckConstraint("status <> 'reversed' OR points = 0", name="reversed_is_empty"),
        # A pending lot waits for an instant or for an operator.
        CheckConstraint(
            "status <> 'pending' OR (available_at IS NULL) = (hold_reason IS NOT NULL)",
            name="pending_until",
        ),
        CheckConstraint(
            "points + withheld_points BETWEEN 0 AND original_points AND withheld_points >= 0",
            name="withheld_points_in_range",
        ),
        one_of("hold_reason", HoldReason),
        CheckConstraint(
            "rejected_points >= 0"
            " AND points + withheld_points + rejected_points <= original_points"
            " AND (rejected_points = 0 OR (status = 'reversed' AND hold_reason IS NOT NULL))",
            name="rejected_points_in_range",
        ),
        # The order in which lots are drawn (domain.md, Points), ready to be walked; pending lots
        # too, so that one index serves movements and balances.
        Index(
            "ix_points_records_drawing_order",
            "user_id",
            "expires_at",
            "created_at",
            "id",
            postgresql_where=text("status IN ('active', 'pending')"),
        ),
        Index(
            "ix_points_records_due",
            "expires_at",
            postgresql_where=text("status = 'active' AND expires_at IS NOT NULL"),
        ),
        Index("ix_points_records_source_reference", "source", "source_reference"),
        Index(
            "ix_points_records_held",
            "id",
            postgresql_where=text("status = 'pending' AND hold_reason IS NOT NULL"),
        ),
        # Held back until `available_at`.
        Index(
            "ix_points_records_held_back",
            "available_at",
            postgresql_where=text("status = 'pending'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    points: Mapped[int]
    original_points: Mapped[int]
    source: Mapped[str]
    source_reference: Mapped[str | None]
    status: Mapped[str]
    expires_at: Mapped[datetime | None]
    available_at: Mapped[datetime | None]
    withheld_points: Mapped[int] = mapped_column(server_default=text("0"))
    # When its end was moved, for which the lot itself paid: once in its life.
    extended_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    # Why it is, or was once, held until an operator decides.
    hold_reason: Mapped[str | None]
    rejected_points: Mapped[int] = mapped_column(server_default=text("0"))


class PointsGrant(Base):
    """A grant that another system may take back: its reference names one lot."""

    __tablename__ = "points_grants"
    __table_args__ = (
        CheckConstraint("reversed_points BETWEEN 0 AND points", name="reversed_points_in_range"),
        CheckConstraint(
            "lapsed_points BETWEEN 0 AND reversed_points", name="lapsed_points_in_range"
        ),
        # What was taken back of a user.
        Index(
            "ix_points_grants_reversed",
            "user_id",
            postgresql_where=text("reversed_points > 0"),
        ),
    )

    source: Mapped[str] = mapped_column(primary_key=True)
    reference: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    points_record_id: Mapped[UUID] = mapped_column(ForeignKey("points_records.id"), unique=True)
    points: Mapped[int]
    reversed_points: Mapped[int] = mapped_column(server_default=text("0"))
    # The part of them that had expired before it was taken back: nobody holds or owes it.
    lapsed_points: Mapped[int] = mapped_column(server_default=text("0"))


class PointsReversal(Base):
    """`points` of a grant that were taken back, as that was found at the moment.

    Some had never reached the balance (withheld), some had expired (lapsed), some were spent
    (owed); the rest was taken from lots. A trigger refuses UPDATE, DELETE and TRUNCATE.
    """

    __tablename__ = "points_reversals"
    __table_args__ = (
        ForeignKeyConstraint(
            ["source", "reference"], ["points_grants.source", "points_grants.reference"]
        ),
        CheckConstraint("points > 0", name="points_positive"),
        CheckConstraint(
            "withheld_points >= 0 AND lapsed_points >= 0 AND owed_points >= 0"
            " AND withheld_points + lapsed_points + owed_points <= points",
            name="parts_in_range",
        ),
        Index("ix_points_reversals_source_reference", "source", "reference"),
        Index("ix_points_reversals_user_id", "user_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    source: Mapped[str]
    reference: Mapped[str]
    points: Mapped[int]
    withheld_points: Mapped[int]
    lapsed_points: Mapped[int]
    owed_points: Mapped[int]
    created_at: Mapped[datetime]


class PointsAuditLog(Base):
    """One row for every change of a balance. A trigger refuses UPDATE, DELETE and TRUNCATE."""

    __tablename__ = "points_audit_log"
    __table_args__ = (
        one_of("action", PointsAction),
        CheckConstraint("points_after = points_before + amount", name="amount_explains_points"),
        CheckConstraint("points_before >= 0 AND points_after >= 0", name="points_not_negative"),
        CheckConstraint("sequence > 0", name="sequence_positive"),
        # Rows come in the order of time and never move: where a day of them lies needs a few bytes
        # for many pages, and costs a movement nothing.
        Index(
            "ix_points_audit_log_created_at",
            "created_at",
            postgresql_using="brin",
            postgresql_with={"pages_per_range": 32, "autosummarize": True},
        ),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(Integer, primary_key=True)
    action: Mapped[str]
    amount: Mapped[int]
    points_before: Mapped[int]
    points_after: Mapped[int]
    source: Mapped[str | None]
    reference: Mapped[str | None]
    details: Mapped[Json]
    created_at: Mapped[datetime]
    created_by: Mapped[str]


class LotDraw(Base):
    """How many points one change of a balance took from one lot (negative: gave back)."""

    __tablename__ = "lot_draws"
    __table_args__ = (
        ForeignKeyConstraint(
            ["user_id", "sequence"], ["points_audit_log.user_id", "points_audit_log.sequence"]
        ),
        CheckConstraint("points <> 0", name="points_not_zero"),
        Index("ix_lot_draws_points_record_id", "points_record_id"),
    )

    user_id: Mapped[int] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(Integer, primary_key=True)
    position: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    points_record_id: Mapped[UUID] = mapped_column(ForeignKey("points_records.id"))
    points: Mapped[int]


class IdempotencyKey(Base):
    """What a mutation that moves value answered the first time it saw a key."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        CheckConstraint("char_length(key) BETWEEN 1 AND 128", name="key_length"),
        Index("ix_idempotency_keys_created_at", "created_at"),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    operation: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    answer: Mapped[Json]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
