"""What is taken back is remembered, and leaves the boards at once, all of it.

A row per grant that was taken back before: of its parts only sums are known. It counts when points
were last taken for it, else on the day on which the grant counted. Only members of whom something
was taken back rank otherwise than before; their days are told apart by MALL_TIMEZONE, as it is set
for whoever migrates.

Revision: 0021, after 0020
"""

import sqlalchemy as sa

from alembic import op
from settings import MallSettings

revision = "0021"
down_revision = "0020"

_REVERSALS = """
    INSERT INTO points_reversals (id, user_id, source, reference, points, withheld_points,
                                  lapsed_points, owed_points, created_at)
    SELECT uuidv7(), user_id, source, reference, reversed_points, withheld_points,
           least(lapsed_points, missing), missing - least(lapsed_points, missing), at
    FROM (
        SELECT granted.user_id, granted.source, granted.reference, reversed_points, lapsed_points,
               lot.withheld_points, coalesce(taken.last_at, earned.at, lot.created_at) AS at,
               reversed_points - lot.withheld_points - coalesce(taken.points, 0) AS missing
        FROM points_grants granted
        JOIN points_records lot ON lot.id = granted.points_record_id
        LEFT JOIN (SELECT user_id, source, reference, -sum(amount)::bigint AS points,
                          max(created_at) AS last_at
                   FROM points_audit_log WHERE action = 'reverse'
                   GROUP BY user_id, source, reference) taken
            ON (taken.user_id, taken.source, taken.reference)
               = (granted.user_id, granted.source, granted.reference)
        LEFT JOIN LATERAL (SELECT max(log.created_at) AS at FROM points_audit_log log
                           WHERE log.user_id = granted.user_id AND action = 'earn'
                             AND (log.source, log.reference)
                                 = (granted.source, granted.reference)) earned ON true
        WHERE reversed_points > 0
    ) reversed
"""
_RANKED = """
    SELECT user_id, created_at, amount AS points FROM points_audit_log
    WHERE action = 'earn' AND source IS DISTINCT FROM 'opening_balance'
    UNION ALL
    SELECT user_id, created_at, withheld_points - points FROM points_reversals
    WHERE source <> 'opening_balance' AND points > withheld_points
"""
_RANKED_BEFORE = """
    SELECT user_id, created_at, amount AS points FROM points_audit_log
    WHERE action IN ('earn', 'reverse') AND source IS DISTINCT FROM 'opening_balance'
"""
_CONCERNED = "SELECT DISTINCT user_id FROM points_grants WHERE reversed_points > 0"
_FORGET = f"DELETE FROM daily_earnings WHERE user_id IN ({_CONCERNED})"
_EARNINGS = """
    INSERT INTO daily_earnings (user_id, day, points, last_at)
    SELECT user_id, CAST(created_at AT TIME ZONE :zone AS date), sum(points), max(created_at)
    FROM ({ranked}) ranked WHERE user_id IN ({concerned}) GROUP BY 1, 2
"""
_TOTALS = f"""
    UPDATE users SET ranked_points = earned.points, ranked_at = earned.last_at
    FROM (SELECT concerned.user_id, coalesce(sum(points), 0) AS points, max(last_at) AS last_at
          FROM ({_CONCERNED}) concerned LEFT JOIN daily_earnings USING (user_id)
          GROUP BY concerned.user_id) earned
    WHERE users.id = earned.user_id
"""
_REBUILD = f"""
    INSERT INTO outbox (job, payload)
    SELECT 'rebuild_leaderboard', '{{}}' WHERE EXISTS ({_CONCERNED})
"""


def upgrade() -> None:
    # First of all: from here on until the commit no movement is under way, and what is summed up
    # below stays what it is.
    changes = sa.Column(
        "ranking_changes", sa.Integer(), server_default=sa.text("0"), nullable=False
    )
    op.add_column("users", changes)
    _create_reversals()
    op.execute(_REVERSALS)
    _rank(_RANKED)
    op.execute(
        """
        CREATE TRIGGER points_reversals_refuses_change
        BEFORE UPDATE OR DELETE OR TRUNCATE ON points_reversals
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
        """
    )


def _create_reversals() -> None:
    op.create_table(
        "points_reversals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("withheld_points", sa.BigInteger(), nullable=False),
        sa.Column("lapsed_points", sa.BigInteger(), nullable=False),
        sa.Column("owed_points", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("points > 0", name=op.f("ck_points_reversals_points_positive")),
        sa.CheckConstraint(
            "withheld_points >= 0 AND lapsed_points >= 0 AND owed_points >= 0"
            " AND withheld_points + lapsed_points + owed_points <= points",
            name=op.f("ck_points_reversals_parts_in_range"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_points_reversals_user_id_users")
        ),
        sa.ForeignKeyConstraint(
            ["source", "reference"],
            ["points_grants.source", "points_grants.reference"],
            name=op.f("fk_points_reversals_source_reference_points_grants"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_points_reversals")),
    )
    op.create_index(
        "ix_points_reversals_source_reference", "points_reversals", ["source", "reference"]
    )
    op.create_index("ix_points_reversals_user_id", "points_reversals", ["user_id"])
    op.create_index(
        "ix_points_grants_reversed",
        "points_grants",
        ["user_id"],
        postgresql_where=sa.text("reversed_points > 0"),
    )


def _rank(ranked: str) -> None:
    """Rank anew those of whom something was taken back; then their boards are out of date."""
    op.execute(_FORGET)
    earnings = _EARNINGS.format(ranked=ranked, concerned=_CONCERNED)
    op.get_bind().execute(sa.text(earnings), {"zone": MallSettings().timezone})
    op.execute(_TOTALS)
    op.execute(_REBUILD)


def downgrade() -> None:
    op.drop_index("ix_points_grants_reversed", "points_grants")
    op.drop_table("points_reversals")
    op.drop_column("users", "ranking_changes")
    _rank(_RANKED_BEFORE)
