"""Points that are held until an operator decides, and which accounts a device was used by.

Revision: 0029, after 0028
"""

import sqlalchemy as sa

from alembic import op

revision = "0029"
down_revision = "0028"

_REASONS = "hold_reason IN ('gains', 'invites', 'shared_device')"


def upgrade() -> None:
    op.add_column("users", sa.Column("gains_full_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("users", sa.Column("gains_held_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("points_records", sa.Column("hold_reason", sa.Text(), nullable=True))
    op.add_column(
        "points_records",
        sa.Column("rejected_points", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )
    op.create_check_constraint(
        op.f("ck_points_records_hold_reason_is_known"), "points_records", _REASONS
    )
    op.create_check_constraint(
        op.f("ck_points_records_rejected_points_in_range"),
        "points_records",
        "rejected_points BETWEEN 0 AND original_points"
        " AND (rejected_points = 0 OR (status = 'reversed' AND hold_reason IS NOT NULL))",
    )
    op.create_index(
        "ix_points_records_held",
        "points_records",
        ["id"],
        postgresql_where=sa.text("status = 'pending' AND hold_reason IS NOT NULL"),
    )
    op.create_table(
        "device_users",
        sa.Column("token_digest", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_device_users_user_id_users")
        ),
        sa.PrimaryKeyConstraint("token_digest", "user_id", name=op.f("pk_device_users")),
    )
    op.create_index("ix_device_users_user_id", "device_users", ["user_id"])
    op.create_index("ix_device_users_last_seen_at", "device_users", ["last_seen_at"])


def downgrade() -> None:
    op.drop_table("device_users")
    op.drop_index("ix_points_records_held", "points_records")
    op.drop_column("points_records", "rejected_points")
    op.drop_column("points_records", "hold_reason")
    op.drop_column("users", "gains_held_until")
    op.drop_column("users", "gains_full_at")
