"""What an item is found by, for the items there are.

Revision: 0004, after 0003
"""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TSVECTOR

from alembic import op
from services.catalogue.search import search_document

revision = "0004"
down_revision = "0003"

_BATCH = 1_000
"""Items an UPDATE: each stays far below the time that a statement may take."""

_READ = sa.text(
    "SELECT id, name, description, category, tags FROM exchange_items"
    " WHERE id > :after ORDER BY id LIMIT :batch"
)
_FILL = sa.text(
    """
    UPDATE exchange_items SET search = CAST(row.document AS tsvector)
    FROM unnest(CAST(:ids AS bigint[]), CAST(:documents AS text[])) AS row(id, document)
    WHERE exchange_items.id = row.id
    """
)


def upgrade() -> None:
    op.add_column("exchange_items", sa.Column("search", TSVECTOR()))
    op.create_index(
        "ix_exchange_items_search",
        "exchange_items",
        ["search"],
        postgresql_using="gin",
        postgresql_where=sa.text("is_active"),
    )
    for rows in _batches(op.get_bind()):
        documents = [
            search_document(row.name, row.description, row.category, row.tags) for row in rows
        ]
        filled = {"ids": [row.id for row in rows], "documents": documents}
        op.get_bind().execute(_FILL, filled)


def _batches(connection: sa.Connection) -> Iterator[Sequence[sa.Row[Any]]]:
    after = 0
    while rows := connection.execute(_READ, {"after": after, "batch": _BATCH}).all():
        yield rows
        after = rows[-1].id


def downgrade() -> None:
    op.drop_index("ix_exchange_items_search", "exchange_items")
    op.drop_column("exchange_items", "search")
