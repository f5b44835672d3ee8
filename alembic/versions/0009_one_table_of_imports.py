"""Files of codes are imported as files of balances are, and coupons say what they were used for.

What is known of files of codes that were under way is dropped: whoever runs such an import again
finds its codes to be duplicates, and the others are imported.

Revision: 0009, after 0008
"""

import sqlalchemy as sa

from alembic import op

revision = "0009"
down_revision = "0008"

_COUNTS = ("position", "lines", "imported", "duplicates", "rejected", "rejects_size")


def upgrade() -> None:
    op.drop_table("coupon_imports")
    op.add_column(
        "file_imports",
        sa.Column("lines", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )
    op.alter_column("file_imports", "started_at", server_default=None)
    op.drop_constraint("uq_file_imports_kind_target_digest", "file_imports")
    op.create_unique_constraint(
        op.f("uq_file_imports_kind_digest"), "file_imports", ["kind", "digest"]
    )
    op.add_column("user_coupons", sa.Column("used_at", sa.DateTime(timezone=True)))
    op.add_column("user_coupons", sa.Column("used_reference", sa.Text()))
    op.add_column("user_coupons", sa.Column("used_by", sa.BigInteger()))
    op.create_foreign_key(
        op.f("fk_user_coupons_used_by_users"), "user_coupons", "users", ["used_by"], ["id"]
    )
    # Nothing in the mall could say so before; somebody may have, by hand.
    op.execute(
        "UPDATE user_coupons SET used_at = now(), used_reference = 'unknown' WHERE status = 'used'"
    )
    op.create_check_constraint(
        op.f("ck_user_coupons_used_says_for_what"),
        "user_coupons",
        "(status = 'used') = (used_at IS NOT NULL)"
        " AND (status = 'used') = (used_reference IS NOT NULL)",
    )


def downgrade() -> None:
    for name in ("used_by", "used_reference", "used_at"):
        op.drop_column("user_coupons", name)
    op.drop_constraint("uq_file_imports_kind_digest", "file_imports")
    op.create_unique_constraint(
        op.f("uq_file_imports_kind_target_digest"), "file_imports", ["kind", "target", "digest"]
    )
    op.alter_column("file_imports", "started_at", server_default=sa.text("now()"))
    op.drop_column("file_imports", "lines")
    op.create_table(
        "coupon_imports",
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTS),
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
