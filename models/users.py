"""Members, operators and services, with the cached sums of their ledger."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, Index, Integer, SmallInteger, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from models.achievements import LOWEST_WEEKLY_RANK
from models.base import MAX_POINTS, Base, BigId, one_of

EARLIEST_BIRTH_YEAR = 1900
MOST_INTERESTS = 50


class Gender(StrEnum):
    """What a member says of it (`contract.graphql`, Gender)."""

    FEMALE = "female"
    MALE = "male"
    OTHER = "other"
    UNDISCLOSED = "undisclosed"


def _sought(column: str) -> Index:
    """Finds users by the beginning of a text, in any case; who was erased is not even in it.

    With the id: many may have one text, and a page goes on behind one of them.
    """
    folded = text(f"lower({column} COLLATE pg_c_utf8)")
    is_there = text("erased_at IS NULL")
    return Index(f"ix_users_{column}_sought", folded, "id", postgresql_where=is_there)


class User(Base):
    """A person (or another system) that has signed in at least once.

    `points` caches the sum of the active lots; the lifetime columns explain it, and the table
    itself refuses a row in which they do not.
    """

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint(f"points BETWEEN 0 AND {MAX_POINTS}", name="points_in_range"),
        CheckConstraint(
            "points = lifetime_earned - lifetime_redeemed - lifetime_expired + lifetime_adjusted",
            name="lifetime_explains_points",
        ),
        CheckConstraint(
            "lifetime_earned >= 0 AND lifetime_redeemed >= 0 AND lifetime_expired >= 0",
            name="lifetime_not_negative",
        ),
        # With the two above: no sum of the ledger ever leaves the range (services.points.room).
        CheckConstraint(
            f"greatest(lifetime_earned, lifetime_earned + lifetime_adjusted) <= {MAX_POINTS}",
            name="lifetime_in_range",
        ),
        CheckConstraint("char_length(external_id) BETWEEN 1 AND 255", name="external_id_length"),
        CheckConstraint("owed_points >= 0", name="owed_points_not_negative"),
        CheckConstraint(
            "exchanges_made >= 0 AND tasks_completed >= 0 AND best_streak >= 0",
            name="counts_not_negative",
        ),
        CheckConstraint(
            f"best_weekly_rank BETWEEN 1 AND {LOWEST_WEEKLY_RANK}", name="weekly_rank_in_range"
        ),
        one_of("gender", Gender),
        CheckConstraint(f"birth_year >= {EARLIEST_BIRTH_YEAR}", name="birth_year_in_range"),
        CheckConstraint(f"cardinality(interests) <= {MOST_INTERESTS}", name="interests_in_range"),
        *(_sought(name) for name in ("username", "external_id", "email", "phone")),
        # Few: whoever ranks everybody leaves them out without looking at every user.
        Index("ix_users_erased", "id", postgresql_where=text("erased_at IS NOT NULL")),
        # Which time zones there are, and who lives in one, page by page.
        Index("ix_users_timezone", "timezone", "id", postgresql_where=text("erased_at IS NULL")),
    )

    id: Mapped[BigId]
    external_id: Mapped[str] = mapped_column(unique=True)
    username: Mapped[str]
    # When the token was issued that named them: an older one does not rename them.
    named_at: Mapped[datetime | None]
    email: Mapped[str | None]
    phone: Mapped[str | None]
    avatar_url: Mapped[str | None]
    locale: Mapped[str]
    timezone: Mapped[str]
    gender: Mapped[str | None]
    birth_year: Mapped[int | None] = mapped_column(SmallInteger)
    interests: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_login_at: Mapped[datetime | None]
    suspended_until: Mapped[datetime | None]
    # How fast they gain (services.points.velocity), and until when all of it is held.
    gains_full_at: Mapped[datetime | None]
    gains_held_until: Mapped[datetime | None]
    # When the personal data was deleted on request; the ledger stays.
    erased_at: Mapped[datetime | None]

    points: Mapped[int] = mapped_column(server_default=text("0"))
    lifetime_earned: Mapped[int] = mapped_column(server_default=text("0"))
    lifetime_redeemed: Mapped[int] = mapped_column(server_default=text("0"))
    lifetime_expired: Mapped[int] = mapped_column(server_default=text("0"))
    lifetime_adjusted: Mapped[int] = mapped_column(server_default=text("0"))
    # Taken back by other systems when it was spent already: the next grants pay it.
    owed_points: Mapped[int] = mapped_column(server_default=text("0"))
    # Number of the user's last row in points_audit_log: the log is numbered per user without
    # gaps, so that "the last row" is exact and a missing row shows.
    audit_sequence: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    # What counts on the leaderboard of all time: the sum of the user's daily_earnings, and when it
    # last changed.
    ranked_points: Mapped[int] = mapped_column(server_default=text("0"))
    ranked_at: Mapped[datetime | None]
    # How often that changed without a row of the log: with their number, the version of the rank.
    ranking_changes: Mapped[int] = mapped_column(Integer, server_default=text("0"))

    # What achievements measure, so that nobody counts rows while a member waits.
    exchanges_made: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    tasks_completed: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    best_streak: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    best_weekly_rank: Mapped[int | None] = mapped_column(SmallInteger)
    # The version of the definitions up to which the member has all that was reached; 0: unknown.
    achievements_version: Mapped[int] = mapped_column(server_default=text("0"))
