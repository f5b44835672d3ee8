"""Notifications: devices, preferences, every push and what became of it, campaigns.

Revision: 0015, after 0014
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_table(
        "reminder_days",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "timezone", "day", name=op.f("pk_reminder_days")),
    )
    op.create_table(
        "campaigns",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(), nullable=False),
        sa.Column("audience", postgresql.JSONB(), nullable=False),
        sa.Column("recipients", sa.BigInteger(), nullable=False),
        sa.Column("planned", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("planned_to", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("planned_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("recipients >= 0", name=op.f("ck_campaigns_recipients_not_negative")),
        sa.ForeignKeyConstraint(
            ["operator_id"], ["users.id"], name=op.f("fk_campaigns_operator_id_users")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaigns")),
    )
    op.create_table(
        "devices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "platform IN ('ios', 'android', 'web')", name=op.f("ck_devices_platform_is_known")
        ),
        sa.CheckConstraint(
            "char_length(token) BETWEEN 1 AND 1024", name=op.f("ck_devices_token_length")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_devices_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_devices")),
        sa.UniqueConstraint("token", name=op.f("uq_devices_token")),
    )
    op.create_index("ix_devices_platform", "devices", ["platform", "user_id"], unique=False)
    op.create_index("ix_devices_user_id", "devices", ["user_id"], unique=False)
    op.create_table(
        "push_preferences",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column(
            "muted_types",
            postgresql.ARRAY(sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.Column("quiet_from", sa.Time(), server_default=sa.text("'22:00:00'"), nullable=False),
        sa.Column("quiet_until", sa.Time(), server_default=sa.text("'08:00:00'"), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_push_preferences_user_id_users")
        ),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_push_preferences")),
    )
    op.create_table(
        "push_records",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("campaign_id", sa.Uuid()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("counted_on", sa.Date()),
        sa.Column("leased_until", sa.DateTime(timezone=True)),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True)),
        sa.Column("opened_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "status <> 'sent' OR sent_at IS NOT NULL", name=op.f("ck_push_records_sent_says_when")
        ),
        sa.CheckConstraint(
            "(status IN ('failed', 'suppressed')) = (reason IS NOT NULL)",
            name=op.f("ck_push_records_says_why_not"),
        ),
        sa.CheckConstraint(
            "reason IN ('disabled', 'muted', 'no_device', 'daily_cap', 'no_credentials',"
            " 'rejected', 'expired')",
            name=op.f("ck_push_records_reason_is_known"),
        ),
        sa.CheckConstraint(
            "status IN ('queued', 'sent', 'failed', 'suppressed')",
            name=op.f("ck_push_records_status_is_known"),
        ),
        sa.CheckConstraint(
            "type IN ('expiry_reminder', 'task_reminder', 'daily_check_in',"
            " 'exchange_confirmation', 'achievement', 'campaign', 'alert')",
            name=op.f("ck_push_records_type_is_known"),
        ),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaigns.id"], name=op.f("fk_push_records_campaign_id_campaigns")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_push_records_user_id_users")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_push_records")),
    )
    op.create_index(
        "ix_push_records_suppressed",
        "push_records",
        ["id"],
        unique=False,
        postgresql_where=sa.text("status = 'suppressed'"),
    )
    op.create_index(
        "ix_push_records_campaign_id",
        "push_records",
        ["campaign_id", "status"],
        unique=False,
        postgresql_where=sa.text("campaign_id IS NOT NULL"),
    )
    op.create_index(
        "ix_push_records_counted",
        "push_records",
        ["user_id", "counted_on"],
        unique=False,
        postgresql_where=sa.text("counted_on IS NOT NULL"),
    )
    op.create_index(
        "ix_push_records_history", "push_records", ["user_id", "created_at", "id"], unique=False
    )
    op.create_index(
        "uq_push_records_reference", "push_records", ["user_id", "type", "reference"], unique=True
    )
    op.create_table(
        "push_deliveries",
        sa.Column("push_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.Uuid(), nullable=False),
        sa.Column("provider_message_id", sa.Text()),
        sa.Column("refused_because", sa.Text()),
        sa.Column(
            "answered_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "(provider_message_id IS NULL) <> (refused_because IS NULL)",
            name=op.f("ck_push_deliveries_sent_or_refused"),
        ),
        sa.ForeignKeyConstraint(
            ["push_id"], ["push_records.id"], name=op.f("fk_push_deliveries_push_id_push_records")
        ),
        sa.PrimaryKeyConstraint("push_id", "device_id", name=op.f("pk_push_deliveries")),
    )


def downgrade() -> None:
    op.drop_table("push_deliveries")
    op.drop_table("push_records")
    op.drop_table("push_preferences")
    op.drop_table("devices")
    op.drop_table("campaigns")
    op.drop_table("reminder_days")
