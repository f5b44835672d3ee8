"""Points that are held until an operator decides, and which accounts a device was used by.

Revision: 0029, after 0028
"""

import sqlalchemy as sa

from alembic import op
from models.online import build_index

revision = "0029"
down_revision = "0028"

_CHECKS = {
    "hold_reason_is_known": "hold_reason IN ('gains', 'invites', 'shared_device')",
    "pending_until": "status <> 'pending' OR (available_at IS NULL) = (hold_reason IS NOT NULL)",
    "rejected_points_in_range": "rejected_points >= 0"
    " AND points + withheld_points + rejected_points <= original_points"
    " AND (rejected_points = 0 OR (status = 'reversed' AND hold_reason IS NOT NULL))",
}


def upgrade() -> None:
    # Every statement commits by itself: nobody waits for a lock while they hold another, and the
    # long looks at the lots, of which there are many, hold nobody up. Each can be done again.
    with op.get_context().autocommit_block():
        op.execute(
            "ALTER TABLE users ADD COLUMN IF NOT EXISTS gains_full_at timestamptz,"
            " ADD COLUMN IF NOT EXISTS gains_held_until timestamptz"
        )
        _change_lots()
    _create_device_users()


def _change_lots() -> None:
    changes = [
        "ADD COLUMN IF NOT EXISTS hold_reason text",
        "ADD COLUMN IF NOT EXISTS rejected_points bigint DEFAULT 0 NOT NULL",
    ]
    for name, check in _CHECKS.items():
        constraint = f"ck_points_records_{name}"
        changes.append(f"DROP CONSTRAINT IF EXISTS {constraint}")
        changes.append(f"ADD CONSTRAINT {constraint} CHECK ({check}) NOT VALID")
    op.execute(f"ALTER TABLE points_records {', '.join(changes)}")
    validations = [f"VALIDATE CONSTRAINT ck_points_records_{name}" for name in _CHECKS]
    op.execute(f"ALTER TABLE points_records {', '.join(validations)}")
    held = sa.text("status = 'pending' AND hold_reason IS NOT NULL")
    build_index("ix_points_records_held", "points_records", ["id"], postgresql_where=held)


def _create_device_users() -> None:
    op.create_table(
        "device_users",
        sa.Column("token_digest", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
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
    until = op.f("ck_points_records_pending_until")
    op.drop_constraint(until, "points_records")
    # A revision that knows no holds lets them count.
    op.execute(
        "UPDATE points_records SET available_at = created_at"
        " WHERE status = 'pending' AND available_at IS NULL"
    )
    op.create_check_constraint(
        until, "points_records", "status <> 'pending' OR available_at IS NOT NULL"
    )
    op.drop_column("points_records", "rejected_points")
    op.drop_column("points_records", "hold_reason")
    op.drop_column("users", "gains_held_until")
    op.drop_column("users", "gains_full_at")
