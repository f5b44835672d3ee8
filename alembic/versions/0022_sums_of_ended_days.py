"""Sums of ended days: what members earned so far in a running week and month. Newer names.

Revision: 0022, after 0021

Nothing is added up here: the nightly job does, and until then boards are computed from the days.
"""

import sqlalchemy as sa

from alembic import op

revision = "0022"
down_revision = "0021"

_PERIOD = "period IN ('daily', 'weekly', 'monthly', 'all_time')"


def upgrade() -> None:
    op.create_table(
        "period_earnings",
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(_PERIOD, name=op.f("ck_period_earnings_period_is_known")),
        sa.PrimaryKeyConstraint("period", "user_id", name=op.f("pk_period_earnings")),
    )
    op.create_table(
        "period_earnings_kept",
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("first", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=False),
        sa.CheckConstraint(_PERIOD, name=op.f("ck_period_earnings_kept_period_is_known")),
        sa.CheckConstraint("until > first", name=op.f("ck_period_earnings_kept_has_days")),
        sa.PrimaryKeyConstraint("period", name=op.f("pk_period_earnings_kept")),
    )
    op.add_column("users", sa.Column("named_at", sa.DateTime(timezone=True)))
    op.create_index(
        "ix_users_erased", "users", ["id"], postgresql_where=sa.text("erased_at IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_index("ix_users_erased", table_name="users")
    op.drop_column("users", "named_at")
    op.drop_table("period_earnings_kept")
    op.drop_table("period_earnings")
