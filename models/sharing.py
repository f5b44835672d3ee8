"""Links that members share, who visited them, and whom they brought."""

from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Index,
    LargeBinary,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, one_of


class ShareKind(StrEnum):
    """What a link shows (`contract.graphql`, ShareKind)."""

    ITEM = "item"
    ACHIEVEMENT = "achievement"
    RANK = "rank"
    INVITE = "invite"


class WithheldReason(StrEnum):
    """Why one side of an invite got no points."""

    DAILY_CAP = "daily_cap"
    SUSPENDED = "suspended"
    ERASED = "erased"
    NO_ROOM = "no_room"


class Share(Base):
    """A link of a member's: one per kind and target, whoever asks how often.

    `target` is the key of what is shared, for kinds that have one. The counters move by statements
    that add to them.
    """

    __tablename__ = "shares"
    __table_args__ = (
        one_of("kind", ShareKind),
        CheckConstraint("char_length(code) BETWEEN 6 AND 32", name="code_length"),
        CheckConstraint(
            "(target IS NOT NULL) = (kind IN ('item', 'achievement'))", name="target_of_kind"
        ),
        CheckConstraint(
            "visits >= 0 AND conversions >= 0 AND points_earned >= 0", name="counters_not_negative"
        ),
        UniqueConstraint("user_id", "kind", "target", postgresql_nulls_not_distinct=True),
        # A member's own, newest first; and how many are of today.
        Index("ix_shares_history", "user_id", "created_at", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    kind: Mapped[str]
    target: Mapped[int | None]
    code: Mapped[str] = mapped_column(unique=True)
    visits: Mapped[int] = mapped_column(server_default=text("0"))
    conversions: Mapped[int] = mapped_column(server_default=text("0"))
    points_earned: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime]


class ShareVisit(Base):
    """A visitor of a link on a day of the mall: the key is what makes them count once.

    `visitor` is a salted hash that names nobody. Needed while the day lasts, and
    deleted soon after.
    """

    __tablename__ = "share_visits"
    __table_args__ = (CheckConstraint("octet_length(visitor) = 32", name="visitor_length"),)

    # The day first: what is over is deleted by it.
    day: Mapped[date] = mapped_column(primary_key=True)
    # No foreign key: a link that is gone leaves its visitors to the next clean-up.
    share_id: Mapped[UUID] = mapped_column(primary_key=True)
    visitor: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)


class Invite(Base):
    """A member whom another one brought: once in the life of the one who was invited.

    Rewarded once, after the first task: each side then has its lot, or a reason why it has none.
    """

    __tablename__ = "invites"
    __table_args__ = (
        CheckConstraint("inviter_id <> invited_id", name="not_oneself"),
        CheckConstraint(
            "rewarded_at IS NULL OR first_task_at IS NOT NULL", name="rewarded_for_a_task"
        ),
        *(
            CheckConstraint(
                f"num_nonnulls({side}_record_id, {side}_withheld)"
                " = CASE WHEN rewarded_at IS NULL THEN 0 ELSE 1 END",
                name=f"{side}_has_points_or_reason",
            )
            for side in ("inviter", "invited")
        ),
        *(
            CheckConstraint(
                f"({side}_points > 0) = ({side}_record_id IS NOT NULL) AND {side}_points >= 0",
                name=f"{side}_points_are_a_lot",
            )
            for side in ("inviter", "invited")
        ),
        one_of("inviter_withheld", WithheldReason),
        one_of("invited_withheld", WithheldReason),
        # Who waits for their first task: read with every completion, so it holds nobody else.
        Index("ix_invites_open", "invited_id", postgresql_where=text("first_task_at IS NULL")),
        Index(
            "ix_invites_paid",
            "inviter_id",
            "rewarded_at",
            postgresql_where=text("inviter_record_id IS NOT NULL"),
        ),
        Index("ix_invites_share_id", "share_id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    invited_id: Mapped[int] = mapped_column(ForeignKey("users.id"), unique=True)
    inviter_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    share_id: Mapped[UUID] = mapped_column(ForeignKey("shares.id"))
    accepted_at: Mapped[datetime]
    first_task_at: Mapped[datetime | None]
    rewarded_at: Mapped[datetime | None]
    inviter_points: Mapped[int] = mapped_column(server_default=text("0"))
    invited_points: Mapped[int] = mapped_column(server_default=text("0"))
    inviter_record_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("points_records.id"), unique=True
    )
    invited_record_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("points_records.id"), unique=True
    )
    inviter_withheld: Mapped[str | None]
    invited_withheld: Mapped[str | None]
