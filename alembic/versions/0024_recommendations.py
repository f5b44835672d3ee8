"""Recommendations: trainings and what they found.

Revision: 0024, after 0023
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0024"
down_revision = "0023"

_NEIGHBOUR_KEY = (
    sa.Column("item_id", sa.BigInteger(), nullable=False),
    sa.Column("kind", sa.Text(), nullable=False),
)


def upgrade() -> None:
    op.create_table(
        "recommendation_runs",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("figures", postgresql.JSONB(), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint(
            "state IN ('training', 'ready', 'failed', 'dropped')",
            name=op.f("ck_recommendation_runs_state_is_known"),
        ),
        sa.CheckConstraint(
            "(state = 'training') = (finished_at IS NULL)",
            name=op.f("ck_recommendation_runs_finished_has_time"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recommendation_runs")),
    )
    op.create_index(
        "ix_recommendation_runs_ready",
        "recommendation_runs",
        ["id"],
        postgresql_where=sa.text("state = 'ready'"),
    )
    _create_found("item_neighbours", "neighbour_ids", *_NEIGHBOUR_KEY)
    _create_found("interest_items", "item_ids", sa.Column("interest", sa.Text(), nullable=False))
    op.create_check_constraint(
        op.f("ck_item_neighbours_kind_is_known"),
        "item_neighbours",
        "kind IN ('collaborative', 'content')",
    )
    _create_popular()


def _run_of(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_run_id_recommendation_runs"
    return sa.ForeignKeyConstraint(["run_id"], ["recommendation_runs.id"], name=op.f(name))


def _create_found(table: str, ids: str, *key: sa.Column[Any]) -> None:
    """A list of items, with a weight for each, for whatever the key names."""
    op.create_table(
        table,
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        *key,
        sa.Column(ids, postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("weights", postgresql.ARRAY(postgresql.REAL()), nullable=False),
        sa.CheckConstraint(
            f"cardinality({ids}) = cardinality(weights)",
            name=op.f(f"ck_{table}_weight_for_each"),
        ),
        sa.CheckConstraint(
            f"cardinality({ids}) BETWEEN 1 AND 200", name=op.f(f"ck_{table}_count_in_range")
        ),
        _run_of(table),
        sa.PrimaryKeyConstraint(
            "run_id", *(column.name for column in key), name=op.f(f"pk_{table}")
        ),
    )


def _create_popular() -> None:
    op.create_table(
        "popular_items",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("item_id", sa.BigInteger(), nullable=False),
        sa.Column("members", sa.Integer(), nullable=False),
        sa.CheckConstraint("rank > 0 AND members > 0", name=op.f("ck_popular_items_is_ranked")),
        _run_of("popular_items"),
        sa.PrimaryKeyConstraint("run_id", "audience", "rank", name=op.f("pk_popular_items")),
    )


def downgrade() -> None:
    op.drop_table("popular_items")
    op.drop_table("interest_items")
    op.drop_table("item_neighbours")
    op.drop_table("recommendation_runs")
