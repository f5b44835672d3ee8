"""What operators wrote of a member is kept apart from the logs that never change.

Reasons in rows from before stay there: the logs give up nothing.

Revision: 0012, after 0011
"""

import sqlalchemy as sa

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "reasons",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_reasons_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reasons")),
    )
    op.create_index("ix_reasons_user_id", "reasons", ["user_id"])


def downgrade() -> None:
    op.drop_table("reasons")
