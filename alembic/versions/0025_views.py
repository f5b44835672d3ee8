"""Views of items, to recommend by: which item an event is a view of.

Revision: 0025, after 0024

Events that were recorded before name no item here: nobody was asked to tell of views yet.
"""

import sqlalchemy as sa

from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    op.add_column("events", sa.Column("viewed_item_id", sa.BigInteger()))
    op.create_index(
        "ix_events_views",
        "events",
        ["user_id", "occurred_at"],
        postgresql_include=["viewed_item_id"],
        postgresql_where=sa.text("viewed_item_id IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index("ix_events_views", "events")
    op.drop_column("events", "viewed_item_id")
