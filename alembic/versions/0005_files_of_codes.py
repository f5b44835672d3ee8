"""How far a file of coupon codes has been imported.

Revision: 0005, after 0004
"""

import sqlalchemy as sa

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "coupon_imports",
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("position", "lines", "imported", "duplicates", "rejected", "rejects_size")
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("position >= 0", name=op.f("ck_coupon_imports_position_not_negative")),
        sa.ForeignKeyConstraint(
            ["item_id"],
            ["exchange_items.id"],
            name=op.f("fk_coupon_imports_item_id_exchange_items"),
        ),
        sa.PrimaryKeyConstraint("item_id", "digest", name=op.f("pk_coupon_imports")),
    )


def downgrade() -> None:
    op.drop_table("coupon_imports")
