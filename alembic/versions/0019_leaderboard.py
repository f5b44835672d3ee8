"""The leaderboard: what members earned by day, and the ranks they had.

Revision: 0019, after 0016

A day is one of the mall: what the log holds already is told apart by MALL_TIMEZONE, as it is set
for whoever migrates.
"""

import sqlalchemy as sa

from alembic import op
from settings import MallSettings

revision = "0019"
down_revision = "0016"

_PERIOD = "period IN ('daily', 'weekly', 'monthly', 'all_time')"
_EARNINGS = """
INSERT INTO daily_earnings (user_id, day, points, last_at)
SELECT user_id, CAST(created_at AT TIME ZONE :zone AS date), sum(amount), max(created_at)
FROM points_audit_log
WHERE action IN ('earn', 'reverse') AND source IS DISTINCT FROM 'opening_balance'
GROUP BY 1, 2
"""
_TOTALS = """
UPDATE users SET ranked_points = earned.points, ranked_at = earned.last_at
FROM (SELECT user_id, sum(points) AS points, max(last_at) AS last_at
      FROM daily_earnings GROUP BY user_id) earned
WHERE users.id = earned.user_id
"""


def upgrade() -> None:
    instant = sa.DateTime(timezone=True)
    op.add_column(
        "users",
        sa.Column("ranked_points", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )
    op.add_column("users", sa.Column("ranked_at", instant))
    op.create_table(
        "daily_earnings",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("last_at", instant, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_daily_earnings_user_id_users")
        ),
        sa.PrimaryKeyConstraint("user_id", "day", name=op.f("pk_daily_earnings")),
    )
    op.create_index("ix_daily_earnings_day", "daily_earnings", ["day"])
    _create_history()
    zone = MallSettings().timezone
    op.get_bind().execute(sa.text(_EARNINGS), {"zone": zone})
    op.execute(_TOTALS)


def _create_history() -> None:
    op.create_table(
        "rank_history",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(_PERIOD, name=op.f("ck_rank_history_period_is_known")),
        sa.CheckConstraint("rank > 0 AND points > 0", name=op.f("ck_rank_history_is_ranked")),
        sa.PrimaryKeyConstraint("user_id", "period", "day", name=op.f("pk_rank_history")),
        postgresql_partition_by="RANGE (day)",
    )
    op.create_table(
        "rank_snapshots",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("users", sa.Integer(), nullable=False),
        sa.Column(
            "taken_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(_PERIOD, name=op.f("ck_rank_snapshots_period_is_known")),
        sa.PrimaryKeyConstraint("day", "period", name=op.f("pk_rank_snapshots")),
    )


def downgrade() -> None:
    op.drop_table("rank_snapshots")
    op.drop_table("rank_history")
    op.drop_table("daily_earnings")
    op.drop_column("users", "ranked_at")
    op.drop_column("users", "ranked_points")
