"""What the mall owes its members, as it was measured.

Revision: 0030, after 0029
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from alembic import op

revision = "0030"
down_revision = "0029"

# Nobody has to wait for the night: workers of before do it as well, but for what is owed.
_ASK_WHERE_MEMBERS_ARE = """
    INSERT INTO outbox (job, payload)
    SELECT 'roll_up_kpis', '{}' WHERE EXISTS (SELECT FROM users WHERE lifetime_earned > 0)
"""


def upgrade() -> None:
    op.create_table(
        "daily_liabilities",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("outstanding_points", sa.BigInteger(), nullable=False),
        sa.Column("pending_points", sa.BigInteger(), nullable=False),
        sa.Column("endings", JSONB(), nullable=False),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "outstanding_points >= 0 AND pending_points >= 0",
            name=op.f("ck_daily_liabilities_points_not_negative"),
        ),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_daily_liabilities")),
    )
    op.execute(_ASK_WHERE_MEMBERS_ARE)


def downgrade() -> None:
    op.drop_table("daily_liabilities")
