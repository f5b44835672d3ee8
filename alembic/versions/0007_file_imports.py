"""Files of opening balances and coupon codes, imported piece by piece.

Revision: 0007, after 0006
"""

import sqlalchemy as sa

from alembic import op

revision = "0007"
down_revision = "0006"

_COUNTS = ("position", "imported", "duplicates", "rejected", "rejected_bytes")


def upgrade() -> None:
    op.create_table(
        "file_imports",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), server_default=sa.text("0"), nullable=False)
            for name in _COUNTS
        ),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "position BETWEEN 0 AND size", name=op.f("ck_file_imports_position_in_file")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file_imports")),
        sa.UniqueConstraint(
            "kind", "target", "digest", name=op.f("uq_file_imports_kind_target_digest")
        ),
    )


def downgrade() -> None:
    op.drop_table("file_imports")
