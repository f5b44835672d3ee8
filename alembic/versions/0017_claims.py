"""A worker claims a row of the outbox; pushes are no longer leased one by one.

Revision: 0017, after 0016
"""

import sqlalchemy as sa

from alembic import op

revision = "0017"
down_revision = "0016"

_OF_CAMPAIGNS = sa.text("campaign_id IS NOT NULL")


def upgrade() -> None:
    op.add_column("outbox", sa.Column("claim", sa.Uuid()))
    op.drop_column("push_records", "leased_until")
    _index_campaigns(["opened_at"])


def downgrade() -> None:
    _index_campaigns(None)
    op.add_column("push_records", sa.Column("leased_until", sa.DateTime(timezone=True)))
    op.drop_column("outbox", "claim")


def _index_campaigns(included: list[str] | None) -> None:
    """How far a campaign has come is counted in the index alone."""
    op.drop_index("ix_push_records_campaign_id", "push_records")
    op.create_index(
        "ix_push_records_campaign_id",
        "push_records",
        ["campaign_id", "status"],
        postgresql_where=_OF_CAMPAIGNS,
        postgresql_include=included,
    )
