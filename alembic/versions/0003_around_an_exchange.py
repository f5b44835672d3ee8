"""Cancelling, coupon pools, grants that can be taken back, wishes, operators' actions.

Revision: 0003, after 0002
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from alembic import op

revision = "0003"
down_revision = "0002"

_COUPON_STOCK = (
    "type <> 'coupon' OR stock = 0 OR (config ->> 'generate') IS NOT DISTINCT FROM 'true'"
)


def upgrade() -> None:
    _users()
    _points()
    _exchanges()
    op.create_table(
        "wishes",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        _now("created_at"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_wishes_user_id_users")),
        sa.ForeignKeyConstraint(
            ["item_id"], ["exchange_items.id"], name=op.f("fk_wishes_item_id_exchange_items")
        ),
        sa.PrimaryKeyConstraint("user_id", "item_id", name=op.f("pk_wishes")),
    )
    op.create_index("ix_wishes_item_id", "wishes", ["item_id"])
    _operator_actions()


def _now(name: str) -> sa.Column[object]:
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
    )


def _users() -> None:
    op.add_column(
        "users",
        sa.Column("owed_points", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )
    op.add_column("users", sa.Column("erased_at", sa.DateTime(timezone=True)))
    op.create_check_constraint(
        op.f("ck_users_owed_points_not_negative"), "users", "owed_points >= 0"
    )


def _points() -> None:
    op.add_column(
        "points_records",
        sa.Column("withheld_points", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
    )
    op.add_column("points_records", sa.Column("extended_at", sa.DateTime(timezone=True)))
    checks = {
        "reversed_is_empty": "status <> 'reversed' OR points = 0",
        "pending_until": "status <> 'pending' OR available_at IS NOT NULL",
        "withheld_points_in_range": "points + withheld_points BETWEEN 0 AND original_points"
        " AND withheld_points >= 0",
    }
    for name, check in checks.items():
        op.create_check_constraint(op.f(f"ck_points_records_{name}"), "points_records", check)
    op.create_index(
        "ix_points_records_held_back",
        "points_records",
        ["available_at"],
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_table(
        "points_grants",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("points_record_id", sa.Uuid(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("reversed_points", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            "reversed_points BETWEEN 0 AND points",
            name=op.f("ck_points_grants_reversed_points_in_range"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_points_grants_user_id_users")
        ),
        sa.ForeignKeyConstraint(
            ["points_record_id"],
            ["points_records.id"],
            name=op.f("fk_points_grants_points_record_id_points_records"),
        ),
        sa.PrimaryKeyConstraint("source", "reference", name=op.f("pk_points_grants")),
        sa.UniqueConstraint("points_record_id", name=op.f("uq_points_grants_points_record_id")),
    )
    # What purchases earned before can be taken back too: their event's id is unique.
    op.execute(
        """
        INSERT INTO points_grants (source, reference, user_id, points_record_id, points)
        SELECT source, source_reference, user_id, id, original_points FROM points_records
        WHERE source = 'purchase' AND source_reference IS NOT NULL
        """
    )


def _exchanges() -> None:
    op.drop_constraint(op.f("ck_exchange_items_coupon_stock_is_generated"), "exchange_items")
    op.add_column("exchanges", sa.Column("cancelled_at", sa.DateTime(timezone=True)))
    op.add_column("exchanges", sa.Column("cancel_reason", sa.Text()))
    op.add_column("exchanges", sa.Column("refunded_points", sa.BigInteger()))
    op.add_column("exchanges", sa.Column("lapsed_points", sa.BigInteger()))
    op.create_check_constraint(
        op.f("ck_exchanges_cancelled_says_what_came_back"),
        "exchanges",
        "(status = 'cancelled') = (cancelled_at IS NOT NULL)"
        " AND (status = 'cancelled') = (refunded_points IS NOT NULL)"
        " AND (status = 'cancelled') = (lapsed_points IS NOT NULL)",
    )
    op.create_check_constraint(
        op.f("ck_exchanges_refund_is_the_price"),
        "exchanges",
        "refunded_points + lapsed_points = points AND refunded_points >= 0 AND lapsed_points >= 0",
    )
    _coupon_codes()


def _coupon_codes() -> None:
    op.create_table(
        "coupon_codes",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default=sa.text("'unused'"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("exchange_id", sa.Uuid()),
        _now("imported_at"),
        sa.CheckConstraint(
            "status IN ('unused', 'issued', 'expired')",
            name=op.f("ck_coupon_codes_status_is_known"),
        ),
        sa.CheckConstraint(
            "(status = 'issued') = (exchange_id IS NOT NULL)",
            name=op.f("ck_coupon_codes_issued_to_an_exchange"),
        ),
        sa.CheckConstraint(
            "char_length(code) BETWEEN 1 AND 200", name=op.f("ck_coupon_codes_code_length")
        ),
        sa.ForeignKeyConstraint(
            ["item_id"], ["exchange_items.id"], name=op.f("fk_coupon_codes_item_id_exchange_items")
        ),
        sa.ForeignKeyConstraint(
            ["exchange_id"], ["exchanges.id"], name=op.f("fk_coupon_codes_exchange_id_exchanges")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coupon_codes")),
        sa.UniqueConstraint("code", name=op.f("uq_coupon_codes_code")),
        sa.UniqueConstraint("exchange_id", name=op.f("uq_coupon_codes_exchange_id")),
    )
    op.create_index(
        "ix_coupon_codes_unused",
        "coupon_codes",
        ["item_id", "id"],
        postgresql_where=sa.text("status = 'unused'"),
    )
    op.create_index(
        "ix_coupon_codes_due",
        "coupon_codes",
        ["expires_at"],
        postgresql_where=sa.text("status = 'unused' AND expires_at IS NOT NULL"),
    )


def _operator_actions() -> None:
    op.create_table(
        "operator_actions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("details", JSONB(), nullable=False),
        _now("created_at"),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["users.id"], name=op.f("fk_operator_actions_operator_id_users")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operator_actions")),
    )
    op.create_index("ix_operator_actions_target", "operator_actions", ["kind", "key", "id"])
    op.create_index("ix_operator_actions_operator_id", "operator_actions", ["operator_id", "id"])
    op.execute(
        """
        CREATE TRIGGER operator_actions_refuses_change
        BEFORE UPDATE OR DELETE OR TRUNCATE ON operator_actions
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()
        """
    )


def downgrade() -> None:
    op.drop_table("operator_actions")
    op.drop_table("wishes")
    op.drop_table("coupon_codes")
    for name in ("refund_is_the_price", "cancelled_says_what_came_back"):
        op.drop_constraint(op.f(f"ck_exchanges_{name}"), "exchanges")
    for name in ("lapsed_points", "refunded_points", "cancel_reason", "cancelled_at"):
        op.drop_column("exchanges", name)
    op.create_check_constraint(
        op.f("ck_exchange_items_coupon_stock_is_generated"), "exchange_items", _COUPON_STOCK
    )
    op.drop_table("points_grants")
    op.drop_index("ix_points_records_held_back", "points_records")
    for name in ("withheld_points_in_range", "pending_until", "reversed_is_empty"):
        op.drop_constraint(op.f(f"ck_points_records_{name}"), "points_records")
    op.drop_column("points_records", "extended_at")
    op.drop_column("points_records", "withheld_points")
    op.drop_constraint(op.f("ck_users_owed_points_not_negative"), "users")
    op.drop_column("users", "erased_at")
    op.drop_column("users", "owed_points")
