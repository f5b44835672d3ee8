"""Key figures: days members were seen, requests, answers, and what is computed of days and months.

Revision: 0028, after 0027
"""

from typing import Any

import sqlalchemy as sa

from alembic import op
from models.online import build_index

revision = "0028"
down_revision = "0027"

_INDEXES: tuple[tuple[str, str, list[str], dict[str, Any]], ...] = (
    (
        "ix_points_audit_log_created_at",
        "points_audit_log",
        ["created_at"],
        {
            "postgresql_using": "brin",
            "postgresql_with": {"pages_per_range": 32, "autosummarize": True},
        },
    ),
    (
        "ix_exchanges_taken",
        "exchanges",
        ["created_at", "user_id"],
        {"postgresql_where": sa.text("status <> 'cancelled'")},
    ),
    (
        "ix_exchanges_cancelled",
        "exchanges",
        ["cancelled_at", "created_at"],
        {"postgresql_where": sa.text("status = 'cancelled'")},
    ),
    (
        "ix_user_tasks_completed_at",
        "user_tasks",
        ["completed_at", "user_id"],
        {"postgresql_where": sa.text("completed_at IS NOT NULL")},
    ),
    (
        "ix_push_records_sent_at",
        "push_records",
        ["sent_at"],
        {"postgresql_where": sa.text("sent_at IS NOT NULL")},
    ),
)


def upgrade() -> None:
    # What concerns tables that are in use commits statement by statement: so members go on, and no
    # lock is waited for by who holds another. It comes first, and can be done again: what an
    # attempt that was broken off left behind is dropped.
    with op.get_context().autocommit_block():
        _index_what_is_there()
        _create_answers()
    _create_written_down()
    _create_computed()


def _index_what_is_there() -> None:
    for name, table, columns, options in _INDEXES:
        build_index(name, table, columns, **options)


def _create_written_down() -> None:
    op.create_table(
        "member_days",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "user_id", name=op.f("pk_member_days")),
    )
    op.create_table(
        "request_counts",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("bucket >= 0", name=op.f("ck_request_counts_bucket_not_negative")),
        sa.CheckConstraint(
            "failures BETWEEN 0 AND requests", name=op.f("ck_request_counts_failures_in_range")
        ),
        sa.PrimaryKeyConstraint("day", "bucket", name=op.f("pk_request_counts")),
    )


def _create_answers() -> None:
    op.drop_table("satisfaction_answers", if_exists=True)
    op.create_table(
        "satisfaction_answers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.SmallInteger(), nullable=False),
        sa.Column("comment", sa.Text()),
        sa.Column("exchange_id", sa.Uuid()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "score BETWEEN 0 AND 10", name=op.f("ck_satisfaction_answers_score_in_range")
        ),
        sa.CheckConstraint(
            "char_length(comment) <= 1000", name=op.f("ck_satisfaction_answers_comment_length")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_satisfaction_answers")),
    )
    for column, table in (("user_id", "users"), ("exchange_id", "exchanges")):
        name = op.f(f"fk_satisfaction_answers_{column}_{table}")
        op.create_foreign_key(name, "satisfaction_answers", table, [column], ["id"])
    for columns in (["created_at"], ["user_id", "created_at"]):
        name = f"ix_satisfaction_answers_{'_'.join(columns)}"
        op.create_index(name, "satisfaction_answers", columns)


def _create_computed() -> None:
    counts = ("exchanges", "tasks_completed", "completing_members", "pushes_sent", "pushes_opened")
    points = ("issued", "redeemed", "expired", "adjusted")
    op.create_table(
        "daily_figures",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("active_members", sa.Integer(), nullable=False),
        *(sa.Column(f"points_{name}", sa.BigInteger(), nullable=False) for name in points),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in counts),
        sa.Column("exchange_points", sa.BigInteger(), nullable=False),
        sa.Column("exchange_point_seconds", sa.Numeric(), nullable=False),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "active_members >= 0 AND exchanges >= 0 AND tasks_completed >= 0"
            " AND completing_members BETWEEN 0 AND active_members"
            " AND pushes_opened BETWEEN 0 AND pushes_sent",
            name=op.f("ck_daily_figures_counts_in_range"),
        ),
        sa.CheckConstraint(
            "points_expired >= 0", name=op.f("ck_daily_figures_points_expired_not_negative")
        ),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_daily_figures")),
    )
    outcomes = ("granted", "redeemed", "expired", "taken")
    op.create_table(
        "cohort_months",
        sa.Column("cohort", sa.Date(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        *(sa.Column(f"{name}_points", sa.BigInteger(), nullable=False) for name in outcomes),
        sa.CheckConstraint(
            "EXTRACT(day FROM cohort) = 1", name=op.f("ck_cohort_months_cohort_is_a_month")
        ),
        sa.CheckConstraint(
            "EXTRACT(day FROM month) = 1", name=op.f("ck_cohort_months_month_is_one")
        ),
        sa.PrimaryKeyConstraint("cohort", "month", name=op.f("pk_cohort_months")),
    )


def downgrade() -> None:
    for name, table, _, _ in _INDEXES:
        op.drop_index(name, table)
    for table in (
        "cohort_months",
        "daily_figures",
        "satisfaction_answers",
        "request_counts",
        "member_days",
    ):
        op.drop_table(table)
