"""Reminders: members by their time zone, wishers of an item page by page.

Revision: 0016, after 0015
"""

import sqlalchemy as sa

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.create_index(
        "ix_users_timezone",
        "users",
        ["timezone", "id"],
        postgresql_where=sa.text("erased_at IS NULL"),
    )
    op.drop_index("ix_wishes_item_id", "wishes")
    op.create_index("ix_wishes_item_id", "wishes", ["item_id", "user_id"])


def downgrade() -> None:
    op.drop_index("ix_wishes_item_id", "wishes")
    op.create_index("ix_wishes_item_id", "wishes", ["item_id"])
    op.drop_index("ix_users_timezone", "users")
