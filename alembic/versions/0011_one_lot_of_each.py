"""A completed task and a check-in have a lot of their own each.

Revision: 0011, after 0010
"""

from alembic import op

revision = "0011"
down_revision = "0010"

_TABLES = ("user_tasks", "check_ins")


def upgrade() -> None:
    for table in _TABLES:
        op.create_unique_constraint(
            op.f(f"uq_{table}_points_record_id"), table, ["points_record_id"]
        )


def downgrade() -> None:
    for table in _TABLES:
        op.drop_constraint(op.f(f"uq_{table}_points_record_id"), table)
