"""Experiments, who is in which variant, and what was measured of them.

The built-in `points_prompt` runs from now on, half and half.

Revision: 0023, after 0022
"""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0023"
down_revision = "0022"

_BUILT_IN = """
    INSERT INTO experiments (key, status, traffic_buckets, variants, salt, started_at)
    VALUES ('points_prompt', 'running', 10000,
            '[{"key": "A", "weight": 1, "payload": null},
              {"key": "B", "weight": 1, "payload": null}]',
            replace(gen_random_uuid()::text, '-', ''), now())
"""


def upgrade() -> None:
    _create_experiments()
    _create_ab_tests()
    _create_experiment_events()
    op.execute(_BUILT_IN)


def _create_experiments() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("traffic_buckets", sa.Integer(), nullable=False),
        sa.Column("variants", postgresql.JSONB(), nullable=False),
        sa.Column("design", sa.Integer(), server_default="1", nullable=False),
        sa.Column("salt", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
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
            "status IN ('draft', 'running', 'stopped')",
            name=op.f("ck_experiments_status_is_known"),
        ),
        sa.CheckConstraint(
            "key ~ '^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$'",
            name=op.f("ck_experiments_key_is_a_name"),
        ),
        sa.CheckConstraint(
            "traffic_buckets BETWEEN 0 AND 10000", name=op.f("ck_experiments_traffic_in_range")
        ),
        sa.CheckConstraint(
            "jsonb_typeof(variants) = 'array' AND jsonb_array_length(variants) BETWEEN 1 AND 50",
            name=op.f("ck_experiments_has_variants"),
        ),
        sa.CheckConstraint(
            "(status = 'draft') = (started_at IS NULL)"
            " AND (status = 'stopped') = (stopped_at IS NOT NULL)",
            name=op.f("ck_experiments_instants_of_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiments")),
        sa.UniqueConstraint("key", name=op.f("uq_experiments_key")),
    )


def _create_ab_tests() -> None:
    op.create_table(
        "ab_tests",
        sa.Column("experiment_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("variant", sa.Text(), nullable=False),
        sa.Column("design", sa.Integer(), nullable=False),
        sa.Column("exposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("crossed_over_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name=op.f("fk_ab_tests_experiment_id_experiments"),
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_ab_tests_user_id_users")),
        sa.PrimaryKeyConstraint("experiment_id", "user_id", name=op.f("pk_ab_tests")),
    )


def _create_experiment_events() -> None:
    op.create_table(
        "experiment_events",
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("experiment_id", sa.BigInteger(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "char_length(event_id) BETWEEN 1 AND 128",
            name=op.f("ck_experiment_events_event_id_length"),
        ),
        sa.CheckConstraint(
            "abs(value) < 'infinity'", name=op.f("ck_experiment_events_value_is_finite")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_experiment_events_user_id_users")
        ),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name=op.f("fk_experiment_events_experiment_id_experiments"),
        ),
        sa.PrimaryKeyConstraint("user_id", "event_id", name=op.f("pk_experiment_events")),
    )
    op.create_index(
        "ix_experiment_events_samples",
        "experiment_events",
        ["experiment_id", "metric", "user_id"],
        postgresql_include=["value"],
    )


def downgrade() -> None:
    op.drop_table("experiment_events")
    op.drop_table("ab_tests")
    op.drop_table("experiments")
