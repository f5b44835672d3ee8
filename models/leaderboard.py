"""What members earned by day, and the ranks they had: what boards are computed from and lead to."""

from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Integer, func
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, one_of


class LeaderboardPeriod(StrEnum):
    """The boards (`contract.graphql`, LeaderboardPeriod)."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    ALL_TIME = "all_time"


class DailyEarnings(Base):
    """What of the audit log counts on boards, by user and day of the mall.

    `points` may be below 0: a reversal counts on the day on which it happens. `last_at` is when
    the user's points of the day last changed.
    """

    __tablename__ = "daily_earnings"
    __table_args__ = (Index("ix_daily_earnings_day", "day"),)

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    points: Mapped[int]
    last_at: Mapped[datetime]


class PeriodEarnings(Base):
    """What a user earned on the days of a running week or month that have ended.

    It may be below 0. Kept so that ranking everybody need not add up millions of days
    (`services.leaderboard.period_sums`). No foreign key: what is added up has one.
    """

    __tablename__ = "period_earnings"
    __table_args__ = (one_of("period", LeaderboardPeriod),)

    period: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    points: Mapped[int]
    last_at: Mapped[datetime]


class PeriodEarningsKept(Base):
    """Which days `PeriodEarnings` has of a period: from `first` up to, not including, `until`.

    Days of the zone that the mall had then: those of another one are not added to them.
    """

    __tablename__ = "period_earnings_kept"
    __table_args__ = (
        one_of("period", LeaderboardPeriod),
        CheckConstraint("until > first", name="has_days"),
    )

    period: Mapped[str] = mapped_column(primary_key=True)
    zone: Mapped[str]
    first: Mapped[date]
    until: Mapped[date]


class RankHistory(Base):
    """A user's place on a board at the end of a day of the mall; partitioned by month.

    The partitions are made and dropped as time goes by (`services.leaderboard.partitions`). No
    foreign key: users are never deleted, and it would be looked up for every row of a snapshot.
    """

    __tablename__ = "rank_history"
    __table_args__ = (
        one_of("period", LeaderboardPeriod),
        CheckConstraint("rank > 0 AND points > 0", name="is_ranked"),
        {"postgresql_partition_by": "RANGE (day)"},
    )

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    period: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    rank: Mapped[int] = mapped_column(Integer)
    points: Mapped[int]


class RankSnapshot(Base):
    """A day of a board whose ranks are in `rank_history`; an empty board has a row here, too."""

    __tablename__ = "rank_snapshots"
    __table_args__ = (one_of("period", LeaderboardPeriod),)

    day: Mapped[date] = mapped_column(primary_key=True)
    period: Mapped[str] = mapped_column(primary_key=True)
    users: Mapped[int] = mapped_column(Integer)
    taken_at: Mapped[datetime] = mapped_column(server_default=func.now())
