"""Members are found in the order of what was found, so the indexes hold the id as well.

Revision: 0013, after 0012
"""

import sqlalchemy as sa

from alembic import op

revision = "0013"
down_revision = "0012"

_SOUGHT = ("username", "external_id", "email", "phone")


def upgrade() -> None:
    _replace("id")


def downgrade() -> None:
    _replace()


def _replace(*more: str) -> None:
    for name in _SOUGHT:
        op.drop_index(f"ix_users_{name}_sought", "users")
        op.create_index(
            f"ix_users_{name}_sought",
            "users",
            [sa.text(f"lower({name} COLLATE pg_c_utf8)"), *more],
            postgresql_where=sa.text("erased_at IS NULL"),
        )
