"""Items by their interests: the tags and the category of each, folded, in an index.

Revision: 0026, after 0025
"""

import sqlalchemy as sa

from alembic import op

revision = "0026"
down_revision = "0025"

# As `services.recommendations.interests.fold_interest` does. The cost is what it takes to do so for
# every item there is: a plan that is made before the interests are known must not choose that.
_FUNCTION = r"""
CREATE FUNCTION folded_interests(tags text[], category text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 10000
RETURN (
    SELECT array_agg(btrim(regexp_replace(
        casefold(normalize(name, NFKC) COLLATE pg_unicode_fast), '\s+', ' ', 'g')))
    FROM unnest(tags || category) name WHERE name IS NOT NULL
)
"""


def upgrade() -> None:
    op.execute(_FUNCTION)
    op.create_index(
        "ix_exchange_items_interests",
        "exchange_items",
        [sa.text("folded_interests(tags, category)")],
        postgresql_using="gin",
        postgresql_where=sa.text("is_active"),
    )


def downgrade() -> None:
    op.drop_index("ix_exchange_items_interests", "exchange_items")
    op.execute("DROP FUNCTION folded_interests(text[], text)")
