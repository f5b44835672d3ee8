"""the mall opens

Revision: 0001, after
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "exchange_items",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("stock", sa.Integer(), nullable=False),
        sa.Column("total_stock", sa.Integer(), nullable=False),
        sa.Column("image_url", sa.Text(), nullable=True),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column(
            "tags", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("available_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("available_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("per_user_limit_count", sa.Integer(), nullable=True),
        sa.Column("per_user_limit_period", sa.Text(), nullable=True),
        sa.Column(
            "config",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "per_user_limit_period IN ('day', 'week', 'month', 'lifetime')",
            name=op.f("ck_exchange_items_per_user_limit_period_is_known"),
        ),
        sa.CheckConstraint(
            "type <> 'coupon' OR stock = 0 OR (config ->> 'generate') IS NOT DISTINCT FROM 'true'",
            name=op.f("ck_exchange_items_coupon_stock_is_generated"),
        ),
        sa.CheckConstraint(
            "type <> 'vip' OR coalesce(config @? '$.level ? (@ >= 1 && @ <= 100)'"
            " AND config @? '$.days ? (@ >= 1 && @ <= 36500)', false)",
            name=op.f("ck_exchange_items_vip_has_level_and_days"),
        ),
        sa.CheckConstraint(
            "type IN ('physical', 'virtual', 'coupon', 'vip')",
            name=op.f("ck_exchange_items_type_is_known"),
        ),
        sa.CheckConstraint(
            "(per_user_limit_count IS NULL) = (per_user_limit_period IS NULL)",
            name=op.f("ck_exchange_items_per_user_limit_whole"),
        ),
        sa.CheckConstraint(
            "available_from < available_until",
            name=op.f("ck_exchange_items_available_from_before_until"),
        ),
        sa.CheckConstraint(
            "per_user_limit_count > 0", name=op.f("ck_exchange_items_per_user_limit_positive")
        ),
        sa.CheckConstraint(
            "points BETWEEN 1 AND 9007199254740991", name=op.f("ck_exchange_items_points_in_range")
        ),
        sa.CheckConstraint(
            "stock BETWEEN 0 AND total_stock", name=op.f("ck_exchange_items_stock_in_range")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exchange_items")),
    )
    op.create_index(
        "ix_exchange_items_category",
        "exchange_items",
        ["category"],
        unique=False,
        postgresql_where=sa.text("is_active"),
    )
    op.create_index(
        "ix_exchange_items_created_at",
        "exchange_items",
        ["created_at", "id"],
        unique=False,
        postgresql_where=sa.text("is_active"),
    )
    op.create_index(
        "ix_exchange_items_points",
        "exchange_items",
        ["points", "id"],
        unique=False,
        postgresql_where=sa.text("is_active"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index(
        "ix_outbox_open",
        "outbox",
        ["id"],
        unique=False,
        postgresql_where=sa.text("done_at IS NULL"),
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("points_reward", sa.BigInteger(), nullable=False),
        sa.Column("frequency", sa.Text(), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "config",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "frequency IN ('daily', 'weekly', 'once')", name=op.f("ck_tasks_frequency_is_known")
        ),
        sa.CheckConstraint("points_reward > 0", name=op.f("ck_tasks_points_reward_positive")),
        sa.CheckConstraint("starts_at < ends_at", name=op.f("ck_tasks_starts_before_end")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("avatar_url", sa.Text(), nullable=True),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("gender", sa.Text(), nullable=True),
        sa.Column("birth_year", sa.SmallInteger(), nullable=True),
        sa.Column(
            "interests", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("suspended_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("points", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("lifetime_earned", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "lifetime_redeemed", sa.BigInteger(), server_default=sa.text("0"), nullable=False
        ),
        sa.Column("lifetime_expired", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "lifetime_adjusted", sa.BigInteger(), server_default=sa.text("0"), nullable=False
        ),
        sa.Column("audit_sequence", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.CheckConstraint(
            "char_length(external_id) BETWEEN 1 AND 255", name=op.f("ck_users_external_id_length")
        ),
        sa.CheckConstraint(
            "lifetime_earned >= 0 AND lifetime_redeemed >= 0 AND lifetime_expired >= 0",
            name=op.f("ck_users_lifetime_not_negative"),
        ),
        sa.CheckConstraint(
            "points = lifetime_earned - lifetime_redeemed - lifetime_expired + lifetime_adjusted",
            name=op.f("ck_users_lifetime_explains_points"),
        ),
        sa.CheckConstraint(
            "points BETWEEN 0 AND 9007199254740991", name=op.f("ck_users_points_in_range")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("external_id", name=op.f("uq_users_external_id")),
    )
    op.create_table(
        "events",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("amount", sa.Numeric(), nullable=True),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attributes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "char_length(event_id) BETWEEN 1 AND 128", name=op.f("ck_events_event_id_length")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_events_user_id_users")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_events")),
    )
    op.create_index(
        "ix_events_user_id_occurred_at", "events", ["user_id", "occurred_at"], unique=False
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("answer", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "char_length(key) BETWEEN 1 AND 128", name=op.f("ck_idempotency_keys_key_length")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_idempotency_keys_user_id_users")
        ),
        sa.PrimaryKeyConstraint("user_id", "operation", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(
        "ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False
    )
    op.create_table(
        "item_daily_exchanges",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("exchanges", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "exchanges >= 0", name=op.f("ck_item_daily_exchanges_exchanges_not_negative")
        ),
        sa.ForeignKeyConstraint(
            ["item_id"],
            ["exchange_items.id"],
            name=op.f("fk_item_daily_exchanges_item_id_exchange_items"),
        ),
        sa.PrimaryKeyConstraint("day", "item_id", name=op.f("pk_item_daily_exchanges")),
    )
    op.create_table(
        "points_audit_log",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("points_before", sa.BigInteger(), nullable=False),
        sa.Column("points_after", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "action IN ('earn', 'redeem', 'expire', 'adjust', 'refund', 'reverse', 'extend')",
            name=op.f("ck_points_audit_log_action_is_known"),
        ),
        sa.CheckConstraint(
            "points_after = points_before + amount",
            name=op.f("ck_points_audit_log_amount_explains_points"),
        ),
        sa.CheckConstraint(
            "points_before >= 0 AND points_after >= 0",
            name=op.f("ck_points_audit_log_points_not_negative"),
        ),
        sa.CheckConstraint("sequence > 0", name=op.f("ck_points_audit_log_sequence_positive")),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_points_audit_log_user_id_users")
        ),
        sa.PrimaryKeyConstraint("user_id", "sequence", name=op.f("pk_points_audit_log")),
    )
    op.create_table(
        "points_records",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("original_points", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("source_reference", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("available_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status <> 'active' OR points > 0", name=op.f("ck_points_records_active_has_points")
        ),
        sa.CheckConstraint(
            "status <> 'used' OR points = 0", name=op.f("ck_points_records_used_is_empty")
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'active', 'used', 'expired', 'reversed')",
            name=op.f("ck_points_records_status_is_known"),
        ),
        sa.CheckConstraint(
            "original_points > 0", name=op.f("ck_points_records_original_points_positive")
        ),
        sa.CheckConstraint(
            "points BETWEEN 0 AND original_points", name=op.f("ck_points_records_points_in_range")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_points_records_user_id_users")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_points_records")),
    )
    op.create_index(
        "ix_points_records_drawing_order",
        "points_records",
        ["user_id", "expires_at", "created_at", "id"],
        unique=False,
        postgresql_where=sa.text("status IN ('active', 'pending')"),
    )
    op.create_index(
        "ix_points_records_due",
        "points_records",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("status = 'active' AND expires_at IS NOT NULL"),
    )
    op.create_index(
        "ix_points_records_source_reference",
        "points_records",
        ["source", "source_reference"],
        unique=False,
    )
    op.create_table(
        "user_vip",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("level > 0", name=op.f("ck_user_vip_level_positive")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_user_vip_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", "level", name=op.f("pk_user_vip")),
    )
    op.create_table(
        "check_ins",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("streak", sa.Integer(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("bonus_points", sa.BigInteger(), nullable=False),
        sa.Column("points_record_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "points >= bonus_points AND bonus_points >= 0",
            name=op.f("ck_check_ins_points_in_range"),
        ),
        sa.CheckConstraint("streak > 0", name=op.f("ck_check_ins_streak_positive")),
        sa.ForeignKeyConstraint(
            ["points_record_id"],
            ["points_records.id"],
            name=op.f("fk_check_ins_points_record_id_points_records"),
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_check_ins_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", "day", name=op.f("pk_check_ins")),
    )
    op.create_table(
        "exchanges",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("audit_sequence", sa.Integer(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("vip_level", sa.SmallInteger(), nullable=True),
        sa.Column("vip_days", sa.Integer(), nullable=True),
        sa.Column("vip_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivery_note", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('pending', 'shipped', 'completed', 'cancelled')",
            name=op.f("ck_exchanges_status_is_known"),
        ),
        sa.CheckConstraint("points > 0", name=op.f("ck_exchanges_points_positive")),
        sa.ForeignKeyConstraint(
            ["item_id"], ["exchange_items.id"], name=op.f("fk_exchanges_item_id_exchange_items")
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "audit_sequence"],
            ["points_audit_log.user_id", "points_audit_log.sequence"],
            name=op.f("fk_exchanges_user_id_audit_sequence_points_audit_log"),
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_exchanges_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exchanges")),
    )
    op.create_index(
        "ix_exchanges_per_user_limit",
        "exchanges",
        ["user_id", "item_id", "created_at"],
        unique=False,
        postgresql_where=sa.text("status <> 'cancelled'"),
    )
    op.create_index(
        "ix_exchanges_user_id_created_at",
        "exchanges",
        ["user_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "uq_exchanges_audit_sequence", "exchanges", ["user_id", "audit_sequence"], unique=True
    )
    op.create_table(
        "lot_draws",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("points_record_id", sa.Uuid(), nullable=False),
        sa.Column("points", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("points <> 0", name=op.f("ck_lot_draws_points_not_zero")),
        sa.ForeignKeyConstraint(
            ["points_record_id"],
            ["points_records.id"],
            name=op.f("fk_lot_draws_points_record_id_points_records"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id", "sequence"],
            ["points_audit_log.user_id", "points_audit_log.sequence"],
            name=op.f("fk_lot_draws_user_id_sequence_points_audit_log"),
        ),
        sa.PrimaryKeyConstraint("user_id", "sequence", "position", name=op.f("pk_lot_draws")),
    )
    op.create_index(
        "ix_lot_draws_points_record_id", "lot_draws", ["points_record_id"], unique=False
    )
    op.create_table(
        "user_tasks",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("points_earned", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("points_record_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "(completed_at IS NULL) = (points_record_id IS NULL)",
            name=op.f("ck_user_tasks_completed_has_points"),
        ),
        sa.CheckConstraint("progress >= 0", name=op.f("ck_user_tasks_progress_not_negative")),
        sa.ForeignKeyConstraint(
            ["points_record_id"],
            ["points_records.id"],
            name=op.f("fk_user_tasks_points_record_id_points_records"),
        ),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.id"], name=op.f("fk_user_tasks_task_id_tasks")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_user_tasks_user_id_users")
        ),
        sa.PrimaryKeyConstraint("user_id", "task_id", "period_start", name=op.f("pk_user_tasks")),
    )
    op.create_index(
        "ix_user_tasks_completed",
        "user_tasks",
        ["user_id", "completed_at"],
        unique=False,
        postgresql_where=sa.text("completed_at IS NOT NULL"),
    )
    op.create_table(
        "shipments",
        sa.Column("exchange_id", sa.Uuid(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("carrier", sa.Text(), nullable=True),
        sa.Column("tracking_number", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["exchange_id"], ["exchanges.id"], name=op.f("fk_shipments_exchange_id_exchanges")
        ),
        sa.PrimaryKeyConstraint("exchange_id", name=op.f("pk_shipments")),
    )
    op.create_table(
        "user_coupons",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("exchange_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "status IN ('active', 'used', 'expired', 'revoked')",
            name=op.f("ck_user_coupons_status_is_known"),
        ),
        sa.ForeignKeyConstraint(
            ["exchange_id"], ["exchanges.id"], name=op.f("fk_user_coupons_exchange_id_exchanges")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_user_coupons_user_id_users")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_coupons")),
        sa.UniqueConstraint("code", name=op.f("uq_user_coupons_code")),
        sa.UniqueConstraint("exchange_id", name=op.f("uq_user_coupons_exchange_id")),
    )
    op.create_index("ix_user_coupons_user_id", "user_coupons", ["user_id"], unique=False)


def downgrade() -> None:
    op.drop_index("ix_user_coupons_user_id", table_name="user_coupons")
    op.drop_table("user_coupons")
    op.drop_table("shipments")
    op.drop_index(
        "ix_user_tasks_completed",
        table_name="user_tasks",
        postgresql_where=sa.text("completed_at IS NOT NULL"),
    )
    op.drop_table("user_tasks")
    op.drop_index("ix_lot_draws_points_record_id", table_name="lot_draws")
    op.drop_table("lot_draws")
    op.drop_index("uq_exchanges_audit_sequence", table_name="exchanges")
    op.drop_index("ix_exchanges_user_id_created_at", table_name="exchanges")
    op.drop_index(
        "ix_exchanges_per_user_limit",
        table_name="exchanges",
        postgresql_where=sa.text("status <> 'cancelled'"),
    )
    op.drop_table("exchanges")
    op.drop_table("check_ins")
    op.drop_table("user_vip")
    op.drop_index("ix_points_records_source_reference", table_name="points_records")
    op.drop_index(
        "ix_points_records_due",
        table_name="points_records",
        postgresql_where=sa.text("status = 'active' AND expires_at IS NOT NULL"),
    )
    op.drop_index(
        "ix_points_records_drawing_order",
        table_name="points_records",
        postgresql_where=sa.text("status IN ('active', 'pending')"),
    )
    op.drop_table("points_records")
    op.drop_table("points_audit_log")
    op.drop_table("item_daily_exchanges")
    op.drop_index("ix_idempotency_keys_created_at", table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_index("ix_events_user_id_occurred_at", table_name="events")
    op.drop_table("events")
    op.drop_table("users")
    op.drop_table("tasks")
    op.drop_index(
        "ix_outbox_open", table_name="outbox", postgresql_where=sa.text("done_at IS NULL")
    )
    op.drop_table("outbox")
    op.drop_index(
        "ix_exchange_items_points",
        table_name="exchange_items",
        postgresql_where=sa.text("is_active"),
    )
    op.drop_index(
        "ix_exchange_items_created_at",
        table_name="exchange_items",
        postgresql_where=sa.text("is_active"),
    )
    op.drop_index(
        "ix_exchange_items_category",
        table_name="exchange_items",
        postgresql_where=sa.text("is_active"),
    )
    op.drop_table("exchange_items")
