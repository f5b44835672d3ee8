"""Alerts, figures that are dear to measure, and what checks of the books found.

Revision: 0027, after 0026

The log and the exchanges are looked through by time: they grow in that order, so a block range
index of a few pages does, and costs those who write next to nothing.
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0027"
down_revision = "0026"

_BY_TIME = ("points_audit_log", "exchanges")


def upgrade() -> None:
    _create_alerts()
    op.create_table(
        "measured_figures",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_measured_figures")),
    )
    _create_ledger_checks()
    for table in _BY_TIME:
        op.create_index(f"ix_{table}_created_at", table, ["created_at"], postgresql_using="brin")


def _create_alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("facts", postgresql.JSONB(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("occurrences", sa.BigInteger(), nullable=False),
        sa.Column("notified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_by", sa.BigInteger(), nullable=True),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "severity IN ('medium', 'high')", name=op.f("ck_alerts_severity_is_known")
        ),
        sa.CheckConstraint("occurrences > 0", name=op.f("ck_alerts_occurrences_positive")),
        sa.CheckConstraint("last_seen_at >= first_seen_at", name=op.f("ck_alerts_seen_in_order")),
        sa.CheckConstraint(
            "(acknowledged_at IS NULL) = (acknowledged_by IS NULL)",
            name=op.f("ck_alerts_acknowledged_by_someone"),
        ),
        sa.ForeignKeyConstraint(
            ["acknowledged_by"], ["users.id"], name=op.f("fk_alerts_acknowledged_by_users")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    op.create_index(
        "uq_alerts_open",
        "alerts",
        ["kind"],
        unique=True,
        postgresql_where=sa.text("resolved_at IS NULL"),
    )


def _create_ledger_checks() -> None:
    op.create_table(
        "ledger_checks",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("next_user_id", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("found", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("violations", sa.BigInteger(), nullable=True),
        sa.Column("details", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("completed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "scope IN ('sweep', 'full')", name=op.f("ck_ledger_checks_scope_is_known")
        ),
        sa.CheckConstraint(
            "found >= 0 AND violations >= 0", name=op.f("ck_ledger_checks_counts_not_negative")
        ),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_ledger_checks")),
    )


def downgrade() -> None:
    for table in reversed(_BY_TIME):
        op.drop_index(f"ix_{table}_created_at", table_name=table)
    op.drop_table("ledger_checks")
    op.drop_table("measured_figures")
    op.drop_table("alerts")
