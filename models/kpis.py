"""What key figures are kept by, so that nobody counts a year of rows while an operator waits.

`MemberDay`, `RequestCount` and `SatisfactionAnswer` are written down as things happen;
`DailyFigures` and `CohortMonth` are computed from the other tables, and can be at any time again;
`DailyLiability` is measured, and says what was true when it was.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    Numeric,
    SmallInteger,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base

LONGEST_COMMENT = 1_000
HIGHEST_SCORE = 10


class MemberDay(Base):
    """A day of the mall on which a member was seen: signed in and asked for something.

    `users.last_login_at` forgets the day before. No foreign key: users are never deleted, and it
    would be looked up for every row.
    """

    __tablename__ = "member_days"

    day: Mapped[date] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class DailyFigures(Base):
    """What happened in the mall on a day that has ended, as it was known at `computed_at`.

    The points are the four sums that explain a balance (`users.lifetime_*`), over everybody: what
    was issued and redeemed may be below 0 on a day on which more was taken back than given.
    `exchange_points` are the points that lots paid for the exchanges, `exchange_point_seconds` each
    of them times how long it had been in its lot.
    """

    __tablename__ = "daily_figures"
    __table_args__ = (
        CheckConstraint(
            "active_members >= 0 AND exchanges >= 0 AND tasks_completed >= 0"
            " AND completing_members BETWEEN 0 AND active_members"
            " AND pushes_opened BETWEEN 0 AND pushes_sent",
            name="counts_in_range",
        ),
        CheckConstraint("points_expired >= 0", name="points_expired_not_negative"),
    )

    day: Mapped[date] = mapped_column(primary_key=True)
    active_members: Mapped[int] = mapped_column(Integer)
    points_issued: Mapped[int]
    points_redeemed: Mapped[int]
    points_expired: Mapped[int]
    points_adjusted: Mapped[int]
    exchanges: Mapped[int] = mapped_column(Integer)
    exchange_points: Mapped[int]
    exchange_point_seconds: Mapped[Decimal] = mapped_column(Numeric)
    tasks_completed: Mapped[int] = mapped_column(Integer)
    completing_members: Mapped[int] = mapped_column(Integer)
    pushes_sent: Mapped[int] = mapped_column(Integer)
    pushes_opened: Mapped[int] = mapped_column(Integer)
    computed_at: Mapped[datetime]


class RequestCount(Base):
    """How many requests of a day took how long: `bucket` of `services.kpis.durations`.

    `failures` of them ended in an error of ours.
    """

    __tablename__ = "request_counts"
    __table_args__ = (
        CheckConstraint("bucket >= 0", name="bucket_not_negative"),
        CheckConstraint("failures BETWEEN 0 AND requests", name="failures_in_range"),
    )

    day: Mapped[date] = mapped_column(primary_key=True)
    bucket: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    requests: Mapped[int]
    failures: Mapped[int]


class SatisfactionAnswer(Base):
    """How likely a member is to recommend the mall, and in which words; of each the newest counts.

    `exchange_id` is what they were asked about, if it was one.
    """

    __tablename__ = "satisfaction_answers"
    __table_args__ = (
        CheckConstraint(f"score BETWEEN 0 AND {HIGHEST_SCORE}", name="score_in_range"),
        CheckConstraint(f"char_length(comment) <= {LONGEST_COMMENT}", name="comment_length"),
        Index("ix_satisfaction_answers_created_at", "created_at"),
        Index("ix_satisfaction_answers_user_id_created_at", "user_id", "created_at"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    score: Mapped[int] = mapped_column(SmallInteger)
    comment: Mapped[str | None]
    exchange_id: Mapped[UUID | None] = mapped_column(ForeignKey("exchanges.id"))
    created_at: Mapped[datetime]


class CohortMonth(Base):
    """What became in one month of the lots of one month: both by their first day.

    A lot belongs to the month in which it could be spent first. `taken_points` were taken back or
    corrected away. All may be below 0 where a cancelled exchange put more back than was drawn.
    """

    __tablename__ = "cohort_months"
    __table_args__ = (
        CheckConstraint("EXTRACT(day FROM cohort) = 1", name="cohort_is_a_month"),
        CheckConstraint("EXTRACT(day FROM month) = 1", name="month_is_one"),
    )

    cohort: Mapped[date] = mapped_column(primary_key=True)
    month: Mapped[date] = mapped_column(primary_key=True)
    granted_points: Mapped[int]
    redeemed_points: Mapped[int]
    expired_points: Mapped[int]
    taken_points: Mapped[int]


class DailyLiability(Base):
    """What the mall owed its members on a day, as it was measured last on it (`measured_at`).

    `endings` is a list of `{"month", "points"}`, the first first: what balances hold that ends in a
    month (its first day); a month of null, the last, is of points that never end.
    """

    __tablename__ = "daily_liabilities"
    __table_args__ = (
        CheckConstraint(
            "outstanding_points >= 0 AND pending_points >= 0", name="points_not_negative"
        ),
    )

    day: Mapped[date] = mapped_column(primary_key=True)
    outstanding_points: Mapped[int]
    pending_points: Mapped[int]
    endings: Mapped[list[Any]] = mapped_column(JSONB)
    measured_at: Mapped[datetime]
